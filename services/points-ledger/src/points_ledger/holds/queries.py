"""Reads of open holds over all vendors and tenants. Connection first."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.tables import HELD, ONE_TO_SWEEP, transactions


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """Open holds of all tenants, with expired ones that are not released yet."""

    points: int
    #: The age of the oldest, 0 if there is none.
    oldest_seconds: float


async def users_with_expired_holds(connection: AsyncConnection, limit: int) -> dict[tuple[str, str], int]:
    """Account → how many of the `limit` oldest expired holds belong to it."""
    columns = transactions.c
    due = (
        sa.select(columns.tenant, columns.user_id)
        .where(ONE_TO_SWEEP, columns.expires_at <= sa.func.clock_timestamp())
        .order_by(columns.expires_at)
        .limit(limit)
        .subquery()
    )
    owners = (due.c.tenant, due.c.user_id)
    rows = await connection.execute(sa.select(*owners, sa.func.count().label("holds")).group_by(*owners))
    return {(row.tenant, row.user_id): row.holds for row in rows}


async def open_holds(connection: AsyncConnection) -> OpenHolds:
    """Reads every row that is held, and no others."""
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.min(transactions.c.created_at))
    statement = sa.select(
        sa.func.coalesce(sa.func.sum(transactions.c.points), 0).label("points"),
        sa.func.coalesce(age, 0).label("oldest_seconds"),
    ).where(HELD)
    row = (await connection.execute(statement)).one()
    return OpenHolds(int(row.points), float(row.oldest_seconds))


async def vendors_with_open_holds(connection: AsyncConnection, *, at_least: int) -> frozenset[tuple[str, str]]:
    """(tenant, vendor) of those with so many open holds. Reads every row that is held, and no others."""
    columns = transactions.c
    counted = (
        sa.select(columns.tenant, columns.vendor_id)
        .where(HELD, columns.expires_at > sa.func.clock_timestamp())
        .group_by(columns.tenant, columns.vendor_id)
        .having(sa.func.count() >= at_least)
    )
    return frozenset((row.tenant, row.vendor_id) for row in await connection.execute(counted))
