"""Reads of open holds over all vendors and tenants. Connection first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.tenant_statements import ON_ONE_SERVER
from shared.times import Instant
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.by_state import in_state
from points_ledger.domain.transactions import State
from points_ledger.reach import Found, is_end_of_reach, within_reach
from points_ledger.store import AccountKey, TransactionKey
from points_ledger.tables import (
    HELD,
    ONE_HELD_BY_AGE,
    ONE_OF_THE_CHANGED,
    ONE_TO_SWEEP,
    accounts,
    transactions,
)


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """Open holds of all tenants, with expired ones that are not released yet."""

    points: int
    #: The age of the oldest, 0 if there is none.
    oldest_seconds: float
    #: How many ended more than a minute ago.
    overdue: int


class Expired(NamedTuple):
    """A hold that has ended and is not released yet. They sort by account."""

    tenant: str
    user_id: str
    vendor_id: str
    transaction_id: str
    expires_at: datetime

    @property
    def key(self) -> TransactionKey:
        return TransactionKey(self.tenant, self.vendor_id, self.transaction_id)


async def expired_holds(
    connection: AsyncConnection,
    limit: int,
    *,
    since: datetime | None = None,
    account: AccountKey | None = None,
) -> list[Expired]:
    """The oldest expired holds.

    Args:
        since: only those that ended then or later. Spares the look at all that were released before, which stay in the
            index until a vacuum has been there, or as long as anybody's snapshot sees them.
        account: only those of this one.
    """
    columns = transactions.c
    # Not `clock_timestamp()`, which the index does not take: every open hold would be read.
    statement = (
        sa.select(columns.tenant, columns.user_id, columns.vendor_id, columns.transaction_id, columns.expires_at)
        .where(columns.expires_at <= sa.func.now())
        .order_by(columns.expires_at)
        .limit(limit)
    )
    if since is not None:
        statement = statement.where(columns.expires_at >= since)
    if account is None:
        statement = statement.where(ONE_TO_SWEEP)
    else:
        statement = statement.where(HELD, columns.tenant == account.tenant, columns.user_id == account.user_id)
    return [Expired(*row) for row in await connection.execute(statement)]


async def open_holds(connection: AsyncConnection) -> OpenHolds:
    """Reads every row that is held, and no others."""
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.min(transactions.c.created_at))
    statement = sa.select(
        sa.func.coalesce(sa.func.sum(transactions.c.points), 0).label("points"),
        sa.func.coalesce(age, 0).label("oldest_seconds"),
        sa.func.count()
        .filter(transactions.c.expires_at < sa.func.clock_timestamp() - timedelta(minutes=1))
        .label("overdue"),
    ).where(HELD)
    row = (await connection.execute(statement)).one()
    return OpenHolds(int(row.points), float(row.oldest_seconds), row.overdue)


async def held_shares(connection: AsyncConnection) -> dict[str, float]:
    """Tenant → the part of all its points that is held. Reads every account."""
    columns = accounts.c
    held, total = sa.func.sum(columns.held), sa.func.sum(columns.held + columns.available)
    statement = sa.select(columns.tenant, held / total).group_by(columns.tenant).having(total > 0)
    return {tenant: float(share) for tenant, share in await connection.execute(statement)}


# From vendor to vendor along the primary key, and of each only its latest changes: the number of transactions does not
# matter. With `now()`, which does not move within a transaction, the index also bounds the time.
_ALL_VENDORS: Final = """
    WITH RECURSIVE vendor AS (
        (SELECT tenant, vendor_id FROM points_ledger.transactions ORDER BY tenant, vendor_id LIMIT 1)
         UNION ALL
        SELECT behind.tenant, behind.vendor_id
          FROM vendor,
               LATERAL (SELECT t.tenant, t.vendor_id
                          FROM points_ledger.transactions t
                         WHERE (t.tenant, t.vendor_id) > (vendor.tenant, vendor.vendor_id)
                         ORDER BY t.tenant, t.vendor_id
                         LIMIT 1) AS behind
    )
"""
_VENDORS_OF_ONE: Final = """
    WITH RECURSIVE vendor AS (
        (SELECT tenant, vendor_id FROM points_ledger.transactions WHERE tenant = :tenant ORDER BY vendor_id LIMIT 1)
         UNION ALL
        SELECT vendor.tenant, behind.vendor_id
          FROM vendor,
               LATERAL (SELECT t.vendor_id
                          FROM points_ledger.transactions t
                         WHERE t.tenant = :tenant AND t.vendor_id > vendor.vendor_id
                         ORDER BY t.vendor_id
                         LIMIT 1) AS behind
    )
"""
_NEVER_CONFIRM: Final = f"""
    SELECT vendor.tenant, vendor.vendor_id
      FROM vendor,
           LATERAL (SELECT count(*) AS ended,
                           count(*) FILTER (WHERE latest.state = 'confirmed') AS confirmed
                      FROM (SELECT t.state
                              FROM points_ledger.transactions t
                             WHERE t.tenant = {{tenant}} AND t.vendor_id = vendor.vendor_id
                               AND {ONE_OF_THE_CHANGED.text} AND t.touched_at > now() - interval '1 day'
                             ORDER BY t.touched_at DESC, t.transaction_id DESC
                             LIMIT 200) AS latest
                     WHERE latest.state IN ('confirmed', 'rolled_back', 'expired')) AS seen
     WHERE seen.ended >= :at_least AND seen.confirmed = 0
"""  # noqa: S608 — the condition is a constant
_SILENT: Final = _NEVER_CONFIRM.format(tenant="vendor.tenant")
_SILENT_OF_ONE: Final = _NEVER_CONFIRM.format(tenant=":tenant")
_IN_ALL: Final = sa.text(f"{_ALL_VENDORS}{_SILENT}{ON_ONE_SERVER}")
_IN_ONE: Final = sa.text(f"{_VENDORS_OF_ONE}{_SILENT_OF_ONE}")


async def vendors_that_never_confirm(connection: AsyncConnection, *, at_least: int) -> frozenset[tuple[str, str]]:
    """(tenant, vendor) of those of whose last 200 changes within a day so many ended a hold, and none by a confirm."""
    rows = await connection.execute(_IN_ALL, {"at_least": at_least})
    return frozenset((row.tenant, row.vendor_id) for row in rows)


async def vendors_of_one_that_never_confirm(
    connection: AsyncConnection, tenant: str, *, at_least: int
) -> frozenset[tuple[str, str]]:
    """Those of one tenant."""
    rows = await connection.execute(_IN_ONE, {"tenant": tenant, "at_least": at_least})
    return frozenset((row.tenant, row.vendor_id) for row in rows)


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
) -> Found[Hold, HoldPlace]:
    """Open holds of a tenant, oldest first."""
    columns = transactions.c
    order = (columns.created_at, columns.vendor_id, columns.transaction_id)
    is_open = columns.expires_at > sa.func.clock_timestamp()
    page = sa.select(
        columns.vendor_id,
        columns.transaction_id,
        columns.user_id,
        columns.points,
        columns.created_at,
        columns.expires_at,
    ).where(columns.tenant == tenant)
    if vendor_id is not None:
        page = page.where(columns.vendor_id == vendor_id)
    if older_than_seconds is not None:
        page = page.where(columns.created_at <= sa.func.now() - timedelta(seconds=older_than_seconds))
    if after is not None:
        page = page.where(sa.tuple_(*order) > sa.tuple_(*map(sa.literal, after)))
    if user_id is not None:
        # One account has few, and its index knows which are open.
        of_user = page.where(HELD, columns.user_id == user_id, is_open).order_by(*order).limit(limit)
        return Found([Hold(*row) for row in await connection.execute(of_user)])
    # All others are read in the order of their age, among them those that have expired and are not released yet.
    page = page.where(ONE_HELD_BY_AGE if vendor_id is None else in_state(State.HELD))
    found: list[Hold] = []
    for row in await connection.execute(within_reach(page, {column.name: column for column in order}, is_open, limit)):
        hold = Hold(*row[: len(Hold._fields)])
        if row.is_kept:
            found.append(hold)
        if is_end_of_reach(row):
            return Found(found, HoldPlace(hold.created_at, hold.vendor_id, hold.transactionid))
    return Found(found)
