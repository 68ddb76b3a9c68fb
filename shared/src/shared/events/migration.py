"""Creates the tables of events in a service's schema: the first version, for a migration of each service.

It follows `tables`; a later change of those tables needs a migration of its own in each service.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment

from shared.events.tables import EventTables, define_event_tables


def create_event_tables(op: Any, schema: str) -> None:
    """What a migration's `upgrade` calls, with Alembic's `op`."""
    for table in _tables(schema).all():
        op.execute(CreateTable(table))
        for column in table.columns:
            if column.comment is not None:
                op.execute(SetColumnComment(column))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            op.execute(CreateIndex(index))


def drop_event_tables(op: Any, schema: str) -> None:
    """What its `downgrade` calls."""
    for table in reversed(_tables(schema).all()):
        op.drop_table(table.name, schema=schema)


def _tables(schema: str) -> EventTables:
    return define_event_tables(sa.MetaData(schema=schema))
