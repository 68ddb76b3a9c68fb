"""Every read of seals. Connection first."""

from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.seals.domain import Seal


class ListedSeal(NamedTuple):
    """A seal without its content."""

    number: int
    rows: int
    first_at: datetime
    first_key: list[Any]
    last_at: datetime
    last_key: list[Any]
    previous: bytes | None
    hash: bytes
    sealed_at: datetime


async def last_seal(connection: AsyncConnection, seals: sa.Table, tenant: str, chain: str) -> Seal | None:
    """The head of a chain."""
    query = _of(sa.select(seals), seals, tenant, chain).order_by(seals.c.number.desc()).limit(1)
    row = (await connection.execute(query)).first()
    return None if row is None else Seal(*row)


async def seals_behind(
    connection: AsyncConnection, seals: sa.Table, tenant: str, chain: str, *, number: int, limit: int
) -> list[Seal]:
    """Seals behind this number, oldest first."""
    query = _of(sa.select(seals), seals, tenant, chain).where(seals.c.number > number)
    return [Seal(*row) for row in await connection.execute(query.order_by(seals.c.number).limit(limit))]


async def list_seals(
    connection: AsyncConnection, seals: sa.Table, tenant: str, chain: str, *, before: int | None, limit: int
) -> list[ListedSeal]:
    """Seals before this number, newest first."""
    query = _of(sa.select(*(seals.c[name] for name in ListedSeal._fields)), seals, tenant, chain)
    if before is not None:
        query = query.where(seals.c.number < before)
    return [ListedSeal(*row) for row in await connection.execute(query.order_by(seals.c.number.desc()).limit(limit))]


async def lengths_of(connection: AsyncConnection, seals: sa.Table, chain: str) -> dict[str, int]:
    """Tenant → the number of its last seal."""
    query = sa.select(seals.c.tenant, sa.func.max(seals.c.number)).where(seals.c.chain == chain)
    return {row[0]: row[1] for row in await connection.execute(query.group_by(seals.c.tenant))}


def _of(query: sa.Select[Any], seals: sa.Table, tenant: str, chain: str) -> sa.Select[Any]:
    return query.where(seals.c.tenant == tenant, seals.c.chain == chain)
