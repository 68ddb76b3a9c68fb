"""Every column with sealed values says how they are sealed, so that `reseal` reaches them all."""

from importlib import import_module

import pytest
import sqlalchemy as sa
from local_platform.services import SERVICES
from shared.sealed_columns import sealed_columns

#: Kept for a day, and then gone.
BRIEF = {"idempotent_answers.answer"}


@pytest.mark.parametrize("package", [service.package for service in SERVICES])
def test_every_sealed_column_says_how_its_values_are_sealed(package: str) -> None:
    metadata: sa.MetaData = import_module(f"{package}.tables").metadata
    called_sealed = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.LargeBinary) and "sealed" in (column.comment or "").lower()
    }
    assert {sealed.name for sealed in sealed_columns(metadata)} == called_sealed - BRIEF
    assert called_sealed
