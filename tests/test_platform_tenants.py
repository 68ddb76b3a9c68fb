"""The tables of all services could be distributed by tenant over several servers, and `distribute` would do it."""

from importlib import import_module
from operator import attrgetter

import pytest
import sqlalchemy as sa
from local_platform.services import SERVICES
from platform_testing.tenant_exceptions import ACROSS_TENANTS, FOR_ALL_TENANTS, NOT_YET
from platform_testing.tenant_rules import unkeyed
from platform_testing.tenant_watch import LAYOUT
from shared.distributing import plan
from shared.tables import is_for_all_tenants
from typer.testing import CliRunner

PACKAGES = [service.package for service in SERVICES]


def tables_of(package: str) -> sa.MetaData:
    metadata: sa.MetaData = import_module(f"{package}.tables").metadata
    return metadata


@pytest.mark.parametrize("package", PACKAGES)
def test_every_key_has_the_tenant(package: str) -> None:
    assert unkeyed(tables_of(package)) == []


def test_the_rules_for_statements_know_the_tables_that_every_server_has() -> None:
    tables = [table for package in PACKAGES for table in tables_of(package).sorted_tables]
    assert {table.fullname for table in tables if is_for_all_tenants(table.info)} == FOR_ALL_TENANTS
    assert all(LAYOUT.by_tenant(table.fullname) for table in tables if table.fullname not in FOR_ALL_TENANTS)


@pytest.mark.parametrize("place", [*ACROSS_TENANTS, *NOT_YET])
def test_every_exception_is_that_of_a_function_or_module(place: str) -> None:
    module, _, function = place.partition(":")
    found = import_module(module)
    # What is defined inside a function can only be looked for from outside.
    assert not function or callable(attrgetter(function.partition(".<locals>")[0])(found))


def test_no_exception_is_on_two_lists() -> None:
    assert not ACROSS_TENANTS.keys() & NOT_YET.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_service_has_the_command(package: str) -> None:
    ended = CliRunner().invoke(import_module(f"{package}.__main__").cli, ["distribute", "--dry-run"])
    assert ended.exit_code == 0
    assert ended.stdout.splitlines() == [f"{statement};" for statement in plan(tables_of(package))]
