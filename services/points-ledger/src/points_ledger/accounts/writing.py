"""Writes what a block of credits comes to."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
from shared.events.domain import NewEvent
from shared.events.outbox import columns_of
from shared.tenant_statements import execute

from points_ledger.domain.accounts import Account, Entry
from points_ledger.statements import WRITE_CREDITS


class Maker(NamedTuple):
    """Who makes the entries of an import."""

    client_id: str | None
    subject: str | None
    request_id: str | None


async def write_credits(
    connection: asyncpg.Connection,
    *,
    tenant: str | None,
    now: datetime,
    accounts: Collection[Account],
    entries: Sequence[Entry],
    maker: Maker,
    events: Sequence[tuple[str, NewEvent]],
) -> None:
    """Writes credits and their events. The accounts are locked; of them, what is available and how many entries.

    Args:
        tenant: as for the statements of `store`.
        now: the time of all entries.
        maker: of all entries.

    Raises:
        asyncpg.UniqueViolationError: one of the references is known.
    """
    await execute(
        connection,
        WRITE_CREDITS,
        tenant,
        [account.tenant for account in accounts],
        [account.user_id for account in accounts],
        [account.available for account in accounts],
        [account.entries for account in accounts],
        *columns_of(events),
        [entry.tenant for entry in entries],
        [entry.user_id for entry in entries],
        [entry.number for entry in entries],
        [entry.points for entry in entries],
        [entry.balance for entry in entries],
        [entry.reference for entry in entries],
        [entry.reason for entry in entries],
        now,
        *maker,
    )
