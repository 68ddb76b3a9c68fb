"""Reads of the past: statements, past balances, and a vendor's transactions page by page.

Cursors are gap-safe: a page never skips a row that commits later than its neighbours.
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
    """The end of a page of transactions."""

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
    """The end of a page of entries."""
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
    """Newest first. Numbers have no gaps and rise in the order of commits, since each is assigned under a lock."""
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
    """The balance at a past instant: zero before the first entry, None if there is no account."""
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
#: The beginning of the oldest open transaction of the database, or of this one if there is no other.
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
    """Oldest first, and only up to the beginning of the oldest open transaction of the database.

    A row's time is taken within its transaction, and so after its beginning. A row that commits later can therefore not
    appear before the end of a page.
    """
    columns = transactions.c
    moment = sa.func.clock_timestamp()
    # In a separate statement before the read, which then sees every transaction that is no longer open. In one
    # statement, a transaction could commit after the snapshot and before the list of open transactions is taken.
    horizon: datetime = (await connection.execute(_HORIZON)).scalar_one()
    # An expired hold reads as expired, whether or not its row says so yet.
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
