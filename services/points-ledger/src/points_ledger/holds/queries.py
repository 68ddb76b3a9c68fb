"""Reads of open holds over all vendors and tenants. Connection first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.times import Instant
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.tables import HELD, ONE_HELD_BY_AGE, ONE_TO_SWEEP, transactions


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


class HoldPlace(NamedTuple):
    """The end of a page of open holds."""

    created_at: Instant
    vendor_id: Identifier
    transaction_id: Identifier


HOLDS: Final = Listing("holds", HoldPlace)


class Hold(NamedTuple):
    """An open hold, in the words of its list."""

    vendor_id: str
    transactionid: str
    user_id: str
    points: int
    created_at: datetime
    expires_at: datetime


async def read_holds(
    connection: AsyncConnection,
    tenant: str,
    *,
    user_id: str | None,
    vendor_id: str | None,
    older_than_seconds: int | None,
    after: HoldPlace | None,
    limit: int,
) -> list[Hold]:
    """Open holds of a tenant, oldest first."""
    columns = transactions.c
    order = (columns.created_at, columns.vendor_id, columns.transaction_id)
    now = sa.func.clock_timestamp()
    statement = (
        sa.select(
            columns.vendor_id,
            columns.transaction_id,
            columns.user_id,
            columns.points,
            columns.created_at,
            columns.expires_at,
        )
        .where(columns.tenant == tenant, columns.expires_at > now)
        .order_by(*order)
        .limit(limit)
    )
    # One account has few; all others are read in the order of their age.
    statement = statement.where(ONE_HELD_BY_AGE if user_id is None else HELD)
    if user_id is not None:
        statement = statement.where(columns.user_id == user_id)
    if vendor_id is not None:
        statement = statement.where(columns.vendor_id == vendor_id)
    if older_than_seconds is not None:
        statement = statement.where(columns.created_at <= sa.func.now() - timedelta(seconds=older_than_seconds))
    if after is not None:
        statement = statement.where(sa.tuple_(*order) > sa.tuple_(*map(sa.literal, after)))
    return [Hold(*row) for row in await connection.execute(statement)]
