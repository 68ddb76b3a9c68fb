"""The SQL of an import's blocks, on plain asyncpg connections; all accounts are of one tenant."""

from collections.abc import Sequence

import asyncpg
from shared.events.domain import NewEvent
from shared.events.outbox import columns_of, recording

from points_ledger.domain.accounts import Account, Entry
from points_ledger.statements import DATED

# In the order of the ledger's other batches, so that none can deadlock with them.
_LOCK_ACCOUNTS = """
SELECT a.tenant, a.user_id, a.available, a.held, a.entries, a.closed_at
  FROM points_ledger.accounts a
  JOIN unnest($2::text[]) AS wanted (user_id) USING (user_id)
 WHERE a.tenant = $1
 ORDER BY a.user_id
   FOR NO KEY UPDATE OF a
"""

# The two parts concern different tables.
_WRITE_CREDITED = f"""{DATED}
WITH told AS (
  {recording("points_ledger", 5, tenant="$1")}
)
UPDATE points_ledger.accounts a
   SET available = new.available, entries = new.entries
  FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS new (user_id, available, entries)
 WHERE a.tenant = $1 AND a.user_id = new.user_id
"""  # noqa: S608 — the mark is a constant


async def lock_accounts(connection: asyncpg.Connection, tenant: str, user_ids: Sequence[str]) -> dict[str, Account]:
    """The accounts that exist, by user, locked until the transaction ends."""
    rows = await connection.fetch(_LOCK_ACCOUNTS, tenant, user_ids)
    return {row[1]: Account(*row) for row in rows}


async def write(
    connection: asyncpg.Connection,
    tenant: str,
    accounts: Sequence[Account],
    entries: Sequence[Entry],
    events: Sequence[tuple[str, NewEvent]],
) -> None:
    """Writes credits, the accounts after them, and what is told of them.

    Raises:
        asyncpg.UniqueViolationError: one of the references is not new.
    """
    await connection.copy_records_to_table(
        "entries", schema_name="points_ledger", columns=Entry._fields, records=entries
    )
    users, available, numbers = zip(*((each.user_id, each.available, each.entries) for each in accounts), strict=True)
    await connection.execute(_WRITE_CREDITED, tenant, users, available, numbers, *columns_of(events))
