"""Statements on keys. Connection first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.tables import keys, tokens
from token_service.tokens.format import MAX_SEQUENCE

#: Which database this is. A restored dump, a promoted standby and a backup that was played back are others: they may
#: know less than was given out before. A dump that is restored into the same database makes the table anew, with
#: another number. The timeline is that of the next write: the one in the control file lags behind a promotion.
_ORIGIN: Final[sa.ColumnElement[str]] = sa.literal_column(
    "(SELECT s.system_identifier || '/'"
    " || CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END || '/'"
    " || d.oid || '/' || 'token_service.keys'::regclass::oid"
    " FROM pg_control_system() s, pg_database d WHERE d.datname = current_database())",
    sa.Text,
)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A stored key."""

    tenant: str
    number: int
    sealed: bytes
    next_sequence: int
    created_at: datetime
    signs_from: datetime
    retired_at: datetime | None
    changed_at: datetime
    origin: str | None


async def read_of(connection: AsyncConnection, tenant: str) -> list[KeyRow]:
    """The tenant's keys, newest last."""
    statement = sa.select(*_columns()).where(keys.c.tenant == tenant).order_by(keys.c.number)
    return [KeyRow(*row) for row in await connection.execute(statement)]


async def read_clock(connection: AsyncConnection) -> datetime:
    """The database's present moment."""
    now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return now


async def read_clock_and_all(connection: AsyncConnection) -> tuple[datetime, list[KeyRow]]:
    """The database's clock and every tenant's keys, newest last."""
    now = await read_clock(connection)
    statement = sa.select(*_columns()).order_by(keys.c.tenant, keys.c.number)
    return now, [KeyRow(*row) for row in await connection.execute(statement)]


async def tenants_changed_within(connection: AsyncConnection, age: timedelta) -> set[str]:
    """Tenants whose keys changed within the last `age`."""
    statement = sa.select(keys.c.tenant).where(keys.c.changed_at > sa.func.clock_timestamp() - age)
    return set(await connection.scalars(statement))


async def insert(
    connection: AsyncConnection, tenant: str, number: int, sealed: bytes, ahead: timedelta
) -> KeyRow | None:
    """The new key, which signs after `ahead`; None if another process made this number first."""
    now = sa.func.clock_timestamp()
    statement = (
        postgresql.insert(keys)
        .values(
            tenant=tenant,
            number=number,
            sealed=sealed,
            next_sequence=1,
            created_at=now,
            signs_from=now + ahead,
            changed_at=now,
            origin=_ORIGIN,
        )
        .on_conflict_do_nothing()
        .returning(*_columns())
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else KeyRow(*row)


async def read_origin(connection: AsyncConnection) -> str:
    """Which database this is."""
    origin: str = (await connection.execute(sa.select(_ORIGIN))).scalar_one()
    return origin


async def draw(connection: AsyncConnection, tenant: str, number: int, count: int) -> int | None:
    """The first of `count` reserved numbers; None if the key has fewer left."""
    statement = (
        sa.update(keys)
        .where(
            keys.c.tenant == tenant,
            keys.c.number == number,
            keys.c.next_sequence <= MAX_SEQUENCE + 1 - count,
            keys.c.origin == _ORIGIN,
        )
        .values(next_sequence=keys.c.next_sequence + count)
        .returning(keys.c.next_sequence - count)
    )
    first: int | None = await connection.scalar(statement)
    return first


async def retire(connection: AsyncConnection, tenant: str, number: int) -> bool:
    """Retires a key without tokens; False while it has one."""
    is_used = sa.exists().where(tokens.c.tenant == tenant, tokens.c.key_number == number)
    now = sa.func.statement_timestamp()
    statement = (
        sa.update(keys)
        .where(keys.c.tenant == tenant, keys.c.number == number, ~is_used)
        .values(retired_at=now, changed_at=now)
    )
    return (await connection.execute(statement)).rowcount > 0


def _columns() -> Sequence[sa.Column[Any]]:
    return [keys.c[field] for field in KeyRow.__slots__]
