"""Reads of a vendor's transactions: one, or page by page.

Cursors are gap-safe: a page never skips a row that commits later than its neighbours.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.times import Instant
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.transactions import State, Transaction
from points_ledger.tables import ONE_OF_A_PAGE, transactions


class TransactionPlace(NamedTuple):
    """The end of a page of transactions."""

    created_at: Instant
    transaction_id: Identifier


TRANSACTIONS: Final = Listing("transactions", TransactionPlace)


async def read_transaction(
    connection: AsyncConnection, tenant: str, vendor_id: str, transaction_id: str
) -> Transaction | None:
    """The transaction at this moment; an expired hold reads as expired."""
    columns = transactions.c
    row = (
        await connection.execute(
            sa.select(*transaction_columns(), sa.func.clock_timestamp().label("now")).where(
                columns.tenant == tenant, columns.vendor_id == vendor_id, columns.transaction_id == transaction_id
            )
        )
    ).first()
    return None if row is None else transaction_of(row).as_of(row.now)


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
    after: TransactionPlace | None,
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


def transaction_columns() -> list[sa.Column[Any]]:
    """The columns in the order of `Transaction`'s fields."""
    return [column for column in transactions.columns if column.name != "touched_at"]


def transaction_of(row: Any) -> Transaction:
    """From a row that begins with `transaction_columns()`."""
    return Transaction(row[0], row[1], row[2], row[3], State(row[4]), *row[5:12])
