"""Reads of a vendor's transactions: one, or page by page.

Cursors are gap-safe: a page never skips a row that commits later than its neighbours (see `read_horizon`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from shared.db import Database
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.readings import Reading
from shared.times import Instant
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.accounts.queries import wait_for_writers
from points_ledger.by_state import EACH_STATE, UNTIL, Page, Part, asked_of, first_of
from points_ledger.domain.accounts import Entry, Kind
from points_ledger.domain.transactions import State, Transaction
from points_ledger.reach import Found, is_end_of_reach, within_reach
from points_ledger.statements import DATED
from points_ledger.tables import ONE_OF_THE_CHANGED, entries, transactions


class TransactionPlace(NamedTuple):
    """The end of a page of transactions: when the last one was made, or changed."""

    at: Instant
    transaction_id: Identifier


#: By creation, and by last change.
TRANSACTIONS: Final = Listing("transactions", TransactionPlace)
CHANGES: Final = Listing("changes", TransactionPlace)
_BEFORE_ALL: Final = (datetime.min.replace(tzinfo=UTC), "")


class Listed(NamedTuple):
    """A row of a list, and where it stands in it."""

    transaction: Transaction
    place: TransactionPlace


def transaction_columns() -> list[sa.Column[Any]]:
    """The columns in the order of `Transaction`'s fields."""
    return [column for column in transactions.columns if column.name != "touched_at"]


_BY_KEY: Final = Reading(
    sa.select(*transaction_columns(), sa.func.clock_timestamp().label("now")).where(
        transactions.c.tenant == sa.bindparam("of_tenant"),
        transactions.c.vendor_id == sa.bindparam("of_vendor"),
        transactions.c.transaction_id == sa.bindparam("of_id"),
    )
)


async def read_transaction(database: Database, tenant: str, vendor_id: str, transaction_id: str) -> Transaction | None:
    """The transaction at this moment; an expired hold reads as expired.

    A confirm or rollback that was decided before the hold ended may be committed after it. The answer says
    that the hold has expired only when that is certain.
    """
    asked = {"of_tenant": tenant, "of_vendor": vendor_id, "of_id": transaction_id}
    rows = await database.read(_BY_KEY, **asked)
    if not rows:
        return None
    now, found = rows[0].now, transaction_of(rows[0])
    if found.as_of(now) is not found:
        async with database.transaction() as connection:
            await wait_for_writers(connection, tenant, found.user_id)
        found = transaction_of((await database.read(_BY_KEY, **asked))[0])
    return found.as_of(now)


async def read_refunds(connection: AsyncConnection, transaction: Transaction) -> list[Entry]:
    """The refunds that this transaction tells of, oldest first.

    Those that were made since it was read are left out: they would add up to more than it says was refunded.
    """
    columns = entries.c
    rows = await connection.execute(
        sa.select(entries)
        .where(
            columns.tenant == transaction.tenant,
            columns.user_id == transaction.user_id,
            columns.kind == Kind.REFUND.value,
            columns.source == transaction.vendor_id,
            sa.func.starts_with(columns.reference, f"{transaction.transaction_id}\x1f"),
        )
        .order_by(columns.number)
    )
    refunds = [entry_of(row) for row in rows]
    sums = accumulate(refund.points for refund in refunds)
    return [refund for refund, so_far in zip(refunds, sums, strict=True) if so_far <= transaction.refunded]


# A transaction that has taken a time for its rows says so in front of its statements. Others do not matter: what they
# write later gets a later time. Where the server keeps no texts of statements, every transaction counts.
_OLDEST_DATED: Final = sa.text(
    f"""
    SELECT min(xact_start)
      FROM pg_catalog.pg_stat_activity
     WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
       AND (query LIKE '{DATED}%' OR query ILIKE 'commit%' OR query = '')
    """  # noqa: S608 — the mark is a constant
)


async def read_horizon(connection: AsyncConnection) -> datetime:
    """Every row with an earlier time is committed; no row gets one any more.

    A row's time is taken within its transaction, and so after its beginning. Only the ledger's own writing transactions
    are looked at, and these last for moments: no other transaction, however long, hides anything.
    """
    # The clock first: a transaction that takes a time after the look takes a later one. And the look before the read,
    # in a statement of its own: what is not open any more by then, the read sees.
    now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    oldest: datetime | None = (await connection.execute(_OLDEST_DATED)).scalar_one()
    return now if oldest is None else min(now, oldest)


async def read_transactions(
    connection: AsyncConnection,
    tenant: str,
    vendor_id: str,
    *,
    state: State | None,
    since: datetime | None,
    after: TransactionPlace | None,
    limit: int,
) -> Found[Listed, TransactionPlace]:
    """By creation, oldest first, up to the horizon."""
    horizon = await read_horizon(connection)
    behind = max(after or _BEFORE_ALL, _BEFORE_ALL if since is None else (since, ""))
    page = (await connection.execute(page_of(state), asked_of(tenant, vendor_id, behind, horizon, limit))).all()
    return _found(page, horizon)


@cache
def page_of(state: State | None) -> Page:
    """The statement of a page by creation.

    An expired hold reads as expired, whether or not its row says so yet: these are two parts. It does so from the
    horizon on: a confirm that was decided before the hold ended may be committed after it. That of a row which says so
    has ended by the horizon as well: a command releases those of its own account, and an earlier one of another account
    would stay behind the cursor.
    """
    is_over = transactions.c.expires_at <= UNTIL
    parts: Sequence[Part]
    match state:
        case None:
            parts = EACH_STATE
        case State.HELD:
            parts = [Part(State.HELD, sa.not_(is_over))]
        case State.EXPIRED:
            parts = [Part(State.EXPIRED, old_enough=is_over), Part(State.HELD, is_over)]
        case _:
            parts = [Part(state)]
    return first_of(transaction_columns(), parts)


async def read_changes(
    connection: AsyncConnection,
    tenant: str,
    vendor_id: str,
    *,
    state: State | None,
    since: datetime | None,
    updated_since: datetime,
    after: TransactionPlace | None,
    limit: int,
) -> Found[Listed, TransactionPlace]:
    """By last change, oldest first, up to the horizon. One that changes again comes again."""
    horizon = await read_horizon(connection)
    columns = transactions.c
    order = {"at": columns.touched_at, "transaction_id": columns.transaction_id}
    page = sa.select(*transaction_columns(), columns.touched_at.label("at")).where(
        columns.tenant == tenant,
        columns.vendor_id == vendor_id,
        columns.touched_at < horizon,
        columns.touched_at >= updated_since,
        ONE_OF_THE_CHANGED,
    )
    if after is not None:
        page = page.where(sa.tuple_(*order.values()) > sa.tuple_(*map(sa.literal, after)))
    kept: sa.ColumnElement[bool] = sa.true()
    if since is not None:
        kept = sa.and_(kept, columns.created_at >= since)
    if state is not None:
        kept = sa.and_(kept, _state_at(horizon) == state.value)
    return _found((await connection.execute(within_reach(page, order, kept, limit))).all(), horizon)


def _state_at(horizon: datetime) -> sa.ColumnElement[str]:
    columns = transactions.c
    is_over = sa.and_(columns.state == State.HELD.value, columns.expires_at <= horizon)
    return sa.case((is_over, State.EXPIRED.value), else_=columns.state)


def _found(page: Sequence[sa.Row[Any]], horizon: datetime) -> Found[Listed, TransactionPlace]:
    found = []
    for row in page:
        transaction = transaction_of(row).as_of(horizon)
        place = TransactionPlace(row.at, transaction.transaction_id)
        if row.is_kept:
            found.append(Listed(transaction, place))
        if is_end_of_reach(row):
            # Of this part, nobody has looked behind it.
            return Found(found, place)
    return Found(found)


def transaction_of(row: Any) -> Transaction:
    """From a row that begins with `transaction_columns()`."""
    return Transaction(row[0], row[1], row[2], row[3], State(row[4]), *row[5:12])


def entry_of(row: Any) -> Entry:
    """From a whole row."""
    return Entry(row[0], row[1], row[2], Kind(row[3]), *row[4:13])
