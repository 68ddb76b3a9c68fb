"""Writes what a block of credits comes to."""

from collections.abc import Collection, Iterable, Sequence
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
    owner: str,
    tenant: str | None,
    now: datetime,
    accounts: Collection[Account],
    entries: Sequence[Entry],
    maker: Maker,
    events: Sequence[tuple[str, NewEvent]],
) -> None:
    """Writes credits and their events. The accounts are locked; of them, what is available and how many entries.

    Args:
        owner: the tenant of all of it.
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
        [account.user_id for account in accounts],
        _numbers(account.available for account in accounts),
        _numbers(account.entries for account in accounts),
        *columns_of(events),
        owner,
        [entry.user_id for entry in entries],
        _numbers(entry.number for entry in entries),
        _numbers(entry.points for entry in entries),
        _numbers(entry.balance for entry in entries),
        [entry.reference for entry in entries],
        [entry.reason for entry in entries],
        now,
        *maker,
    )


def _numbers(numbers: Iterable[int]) -> str:
    """An array as text."""
    return f"{{{','.join(map(str, numbers))}}}"
