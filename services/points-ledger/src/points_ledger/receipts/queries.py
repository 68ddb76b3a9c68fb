"""Reads of what a receipt is to say: only what no crash, and no transaction under way, can take back."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.transactions import Transaction
from points_ledger.eai.queries import transaction_columns, transaction_of
from points_ledger.tables import accounts, transactions


async def read_for_good(
    connection: AsyncConnection, tenant: str, vendor_id: str, transaction_id: str
) -> tuple[Transaction, Transaction] | None:
    """The transaction as its row says it, and as it is at this moment.

    It locks the row, so that the reader has a COMMIT of its own to wait for: under synchronous replication a row may be
    visible that the standby does not have yet.
    """
    columns = transactions.c
    query = (
        sa.select(*transaction_columns(), sa.func.clock_timestamp().label("now"))
        .where(columns.tenant == tenant, columns.vendor_id == vendor_id, columns.transaction_id == transaction_id)
        .with_for_update(read=True)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    found = transaction_of(row)
    return found, found.as_of(row.now)


async def wait_for_writers(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """Waits for the transactions that write to this account; others wait for this one."""
    columns = accounts.c
    query = sa.select(columns.user_id).where(columns.tenant == tenant, columns.user_id == user_id)
    await connection.execute(query.with_for_update(read=True))
