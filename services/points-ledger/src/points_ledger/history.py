"""Reads of what has been: statements, balances of the past, a vendor's transactions page by page.

Cursors are gap-safe: a page never skips a row that was committed later than its neighbours.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa
from shared.errors import Malformed
from shared.times import in_utc
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.accounts import Account, Entry, Kind
from points_ledger.domain.transactions import State, Transaction
from points_ledger.queries import Balance, transaction_columns, transaction_of
from points_ledger.tables import ONE_OF_A_PAGE, accounts, entries, transactions


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of transactions ended."""

    created_at: datetime
    transaction_id: str

    def to_cursor(self) -> str:
        return _encode([self.created_at.isoformat(), self.transaction_id])

    @classmethod
    def from_cursor(cls, cursor: str) -> "Place":
        """Raises Malformed with the code invalid_cursor."""
        match _decode(cursor):
            case [str() as created_at, str() as transaction_id]:
                try:
                    moment = datetime.fromisoformat(created_at)
                    if moment.tzinfo is not None and "\0" not in transaction_id:
                        return cls(in_utc(moment), transaction_id)
                except ValueError:
                    pass
        raise _invalid_cursor()


def entry_cursor(number: int) -> str:
    """Where a page of entries ended."""
    return _encode(number)


def entry_number(cursor: str) -> int:
    """Raises Malformed with the code invalid_cursor."""
    number = _decode(cursor)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**63:
        raise _invalid_cursor()
    return number


async def read_entries(
    connection: AsyncConnection, tenant: str, user_id: str, *, before: int | None, limit: int
) -> list[Entry]:
    """Newest first. Numbers have no gaps and rise in the order of commits, since each is given under a lock."""
    columns = entries.c
    statement = (
        sa.select(entries)
        .where(columns.tenant == tenant, columns.user_id == user_id)
        .order_by(columns.number.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(columns.number < before)
    rows = await connection.execute(statement)
    return [Entry(row[0], row[1], row[2], Kind(row[3]), *row[4:10]) for row in rows]


async def read_balance_at(connection: AsyncConnection, tenant: str, user_id: str, at: datetime) -> Balance | None:
    """As of a past instant; zero before the first entry, None without the account."""
    total = (
        sa.select(entries.c.balance)
        .where(entries.c.tenant == tenant, entries.c.user_id == user_id, entries.c.created_at <= at)
        .order_by(entries.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    count = (
        sa.select(sa.func.count())
        .select_from(entries)
        .where(entries.c.tenant == tenant, entries.c.user_id == user_id, entries.c.created_at <= at)
        .scalar_subquery()
    )
    columns = transactions.c
    held = (
        sa.select(sa.func.coalesce(sa.func.sum(columns.points), 0))
        .where(
            columns.tenant == tenant,
            columns.user_id == user_id,
            columns.state.not_in([State.REJECTED.value, State.CANCELLED.value]),
            columns.created_at <= at,
            columns.expires_at > at,
            sa.or_(columns.ended_at.is_(None), columns.ended_at > at),
        )
        .scalar_subquery()
    )
    row = (
        await connection.execute(
            sa.select(sa.func.coalesce(total, 0).label("total"), held.label("held"), count.label("entries")).where(
                sa.exists().where(accounts.c.tenant == tenant, accounts.c.user_id == user_id)
            )
        )
    ).first()
    if row is None:
        return None
    return Balance(Account(tenant, user_id, row.total - int(row.held), int(row.held), row.entries), at)


_activity = sa.table(
    "pg_stat_activity", sa.column("xact_start"), sa.column("datname"), sa.column("pid"), schema="pg_catalog"
)
#: When the oldest open transaction of the database began; our own one's beginning if it is alone.
_HORIZON: Final = sa.select(sa.func.least(sa.func.now(), sa.func.min(_activity.c.xact_start))).where(
    _activity.c.datname == sa.func.current_database(), _activity.c.pid != sa.func.pg_backend_pid()
)


async def read_transactions(
    connection: AsyncConnection,
    tenant: str,
    vendor_id: str,
    *,
    state: State | None,
    since: datetime | None,
    after: Place | None,
    limit: int,
) -> list[Transaction]:
    """Oldest first. Only up to the start of the oldest transaction that is still open in the database.

    A row's time is taken within its transaction, and so after that one's start: nothing that is committed later
    can come to stand before what a page has shown.
    """
    columns = transactions.c
    moment = sa.func.clock_timestamp()
    # In a statement of its own, before the one that reads: what is not open any more at this moment, that one sees.
    # Within one statement, a transaction could be committed after its snapshot and before the look at who is open.
    horizon: datetime = (await connection.execute(_HORIZON)).scalar_one()
    # A hold that has run out reads as expired, whether or not that has been written down.
    state_now = sa.case(
        (sa.and_(columns.state == State.HELD.value, columns.expires_at <= moment), State.EXPIRED.value),
        else_=columns.state,
    )
    statement = (
        sa.select(*transaction_columns(), moment.label("now"))
        .where(columns.tenant == tenant, columns.vendor_id == vendor_id, ONE_OF_A_PAGE, columns.created_at < horizon)
        .order_by(columns.created_at, columns.transaction_id)
        .limit(limit)
    )
    if state is not None:
        statement = statement.where(state_now == state.value)
    if since is not None:
        statement = statement.where(columns.created_at >= since)
    if after is not None:
        statement = statement.where(
            sa.tuple_(columns.created_at, columns.transaction_id)
            > sa.tuple_(sa.literal(after.created_at), sa.literal(after.transaction_id))
        )
    rows = await connection.execute(statement)
    return [transaction_of(row).as_of(row.now) for row in rows]


def _encode(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def _decode(cursor: str) -> Any:
    try:
        return orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise _invalid_cursor() from None


def _invalid_cursor() -> Malformed:
    return Malformed("This cursor was not given out here.", code="invalid_cursor")
