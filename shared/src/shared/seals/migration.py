"""Creates the table of seals in a service's schema: the first version, for a migration of each service.

It follows `tables`; a later change of that table needs a migration of its own in each service.
"""

from typing import Any

import sqlalchemy as sa

from shared.migrating import create_tables
from shared.seals.tables import define_seals_table


def create_seals_table(op: Any, schema: str) -> None:
    """What a migration's `upgrade` calls, with Alembic's `op`."""
    create_tables(op, [define_seals_table(sa.MetaData(schema=schema))])


def drop_seals_table(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    op.drop_table("seals", schema=schema)
