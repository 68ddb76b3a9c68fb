"""Retention: a chore for each table deletes the rows that are older than a setting says.

    chores.running(..., forgetting(database, issuances, issuances.c.issued_at, settings.issuances_kept))

Nothing that callers see may depend on the chore being on time.
"""

from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from shared.chores import Chore
from shared.db import Database
from shared.tables import Forgotten, forgetting_function, forgotten_of

EVERY_SECONDS: Final = 3600.0
_AT_ONCE: Final = 5000


def forgetting(
    database: Database,
    table: sa.Table,
    written_at: sa.Column[Any],
    kept: timedelta,
    *conditions: sa.ColumnElement[bool],
    name: str | None = None,
) -> Chore:
    """The chore that deletes old rows, in slices, so that no transaction grows long.

    Args:
        written_at: when a row's retention begins; rows without it stay.
        kept: how long a row stays after that.
        conditions: only rows that fulfil them go. An append-only table has its own in `shared.tables.Forgotten`.
        name: of the chore, if a table has several.
    """
    forgotten = forgotten_of(table.info)
    if forgotten is not None:
        return _forgetting_append_only(database, table, forgotten, written_at, kept, *conditions)
    key = tuple(table.primary_key.columns)
    old = sa.select(*key).where(written_at < sa.func.now() - kept, *conditions).limit(_AT_ONCE)

    async def forget() -> int:
        async with database.transaction() as connection:
            result = await connection.execute(sa.delete(table).where(sa.tuple_(*key).in_(old)))
            return result.rowcount

    return Chore(name or f"forget {table.name}", forget, every_seconds=EVERY_SECONDS, full_slice=_AT_ONCE)


def _forgetting_append_only(
    database: Database,
    table: sa.Table,
    forgotten: Forgotten,
    written_at: sa.Column[Any],
    kept: timedelta,
    *conditions: sa.ColumnElement[bool],
) -> Chore:
    """The same by the function that the migrations made, since the role that serves must not delete by itself."""
    if written_at.name != forgotten.by or conditions:
        raise ValueError(f"{table.name} says itself when its rows go")
    function = getattr(getattr(sa.func, str(table.schema)), forgetting_function(table.name))
    statement = sa.select(function(sa.literal(kept, sa.Interval), sa.literal(_AT_ONCE, sa.Integer)))

    async def forget() -> int:
        async with database.transaction() as connection:
            return int(await connection.scalar(statement) or 0)

    return Chore(f"forget {table.name}", forget, every_seconds=EVERY_SECONDS, full_slice=_AT_ONCE)
