"""Reads and writes what a transaction of the ledger concerns, by `statements`. Connection first; returns domain types.

All of it runs on a plain asyncpg connection. Accounts are locked first, in the order of (tenant, user_id), so that two
batches cannot deadlock. `tenant` is the only one that the batch concerns, or None if there are several.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

import asyncpg
import orjson
from shared.events.domain import NewEvent
from shared.events.outbox import columns_of
from shared.tenant_statements import chosen, execute, fetch

from points_ledger import statements
from points_ledger.domain.accounts import Account, Entry, Kind
from points_ledger.domain.transactions import State, Transaction
from points_ledger.events import transaction_moved
from points_ledger.statements import DATED


class AccountKey(NamedTuple):
    tenant: str
    user_id: str


class TransactionKey(NamedTuple):
    tenant: str
    vendor_id: str
    transaction_id: str


class EntryKey(NamedTuple):
    tenant: str
    user_id: str
    kind: str
    source: str
    reference: str


class AnswerKey(NamedTuple):
    tenant: str
    client_id: str
    key: str


class HoldsKey(NamedTuple):
    """The open holds of one vendor in one account."""

    tenant: str
    user_id: str
    vendor_id: str


class Due(NamedTuple):
    """Expired holds of an account that are not released yet."""

    holds: int
    points: int


class KeptAnswer(NamedTuple):
    fingerprint: bytes
    answer: bytes


#: Looked up for each row that is read: `State(…)` takes several times as long.
_STATES: Final = {state.value: state for state in State}
#: A transaction's key, to sort by.
_KEY: Final = itemgetter(0, 1, 2)


async def lock_accounts(
    connection: asyncpg.Connection, keys: Iterable[AccountKey], tenant: str | None
) -> dict[AccountKey, Account]:
    """The accounts that exist, locked until the transaction ends."""
    rows = await fetch(connection, statements.LOCK_ACCOUNTS, tenant, _rows(keys))
    return {AccountKey(row[0], row[1]): Account(*row) for row in rows}


class Read(NamedTuple):
    """What a batch looks at first."""

    #: The database's time.
    now: datetime
    accounts: dict[AccountKey, Account]
    transactions: dict[TransactionKey, Transaction]
    #: How many of the transactions are expired holds of each account, the oldest ones.
    due: Counter[AccountKey]


async def read_batch(
    connection: asyncpg.Connection,
    accounts: Iterable[AccountKey],
    transactions: Iterable[TransactionKey],
    at_most: int,
    tenant: str | None,
) -> Read:
    """The accounts, which are locked, their expired holds, up to `at_most` of each (one of `due_in`'s numbers), and the
    named transactions."""
    rows = await fetch(connection, statements.READ_BATCH[at_most], tenant, _rows(accounts), _rows(transactions))
    read = Read(rows[0][0], {}, {}, Counter())
    for row in map(tuple, rows):
        if row[2] is not None:
            transaction = _transaction(row[1:])
            read.transactions[_key_of(transaction)] = transaction
            if row[13]:
                read.due[AccountKey(row[1], row[4])] += 1
        elif row[1] is not None:
            read.accounts[AccountKey(row[1], row[4])] = Account(row[1], row[4], row[6], row[7], row[8], row[12])
    return read


def due_in(owners: int) -> int:
    """How many expired holds of each account a batch reads, with so many accounts that may have some."""
    due = statements.DUE
    return next((at_most for at_most in reversed(due) if at_most * owners <= due[-1]), due[0])


async def sum_due(
    connection: asyncpg.Connection, owners: Iterable[AccountKey], now: datetime, at_most: int, tenant: str | None
) -> dict[AccountKey, Due]:
    """What is due of each account at `now`; not more than `at_most` holds are looked at."""
    rows = await fetch(connection, statements.SUM_DUE, tenant, _rows(owners), now, at_most)
    return {AccountKey(row[0], row[1]): Due(row[2], row[3]) for row in rows}


async def count_open(
    connection: asyncpg.Connection, keys: Iterable[HoldsKey], now: datetime, at_most: int, tenant: str | None
) -> dict[HoldsKey, int]:
    """How many holds of a vendor are open in an account at `now`; not more than `at_most` are counted."""
    rows = await fetch(connection, statements.COUNT_OPEN, tenant, _rows(keys), now, at_most)
    return {HoldsKey(row[0], row[1], row[2]): row[3] for row in rows}


async def release_due(
    connection: asyncpg.Connection, keys: Iterable[TransactionKey], now: datetime, tenant: str | None
) -> int:
    """Releases the expired ones of these holds, whose accounts are locked, and tells of each; returns how many."""
    due = await fetch(connection, statements.RELEASE_DUE, tenant, _rows(keys), now)
    released = [_transaction(tuple(row)).as_of(now) for row in due]
    told = [(one.tenant, event) for one in released if (event := transaction_moved(one)) is not None]
    if told:
        await execute(connection, statements.TELL, tenant, *columns_of(told))
    return len(released)


async def read_clock(connection: asyncpg.Connection) -> datetime:
    """The database's current time."""
    now: datetime = await connection.fetchval(f"{DATED} SELECT clock_timestamp()")
    return now


async def read_entries(
    connection: asyncpg.Connection, keys: Iterable[EntryKey], tenant: str | None
) -> dict[EntryKey, Entry]:
    """The entries that were made under these references."""
    rows = await fetch(connection, statements.READ_ENTRIES, tenant, _rows(keys))
    found = (_entry(tuple(row)) for row in rows)
    return {EntryKey(e.tenant, e.user_id, e.kind.value, e.source, e.reference): e for e in found}


async def read_answers(
    connection: asyncpg.Connection, keys: Iterable[AnswerKey], tenant: str | None
) -> dict[AnswerKey, KeptAnswer]:
    """The answers given under these idempotency keys within the last 24 h."""
    rows = await fetch(connection, statements.READ_ANSWERS, tenant, _rows(keys))
    return {AnswerKey(*row[:3]): KeptAnswer(row[3], row[4]) for row in map(tuple, rows)}


def locking(keys: Set[AccountKey], tenant: str | None) -> tuple[Any, ...]:
    """The statement that locks the accounts until the transaction ends, and its parameters."""
    return chosen(statements.LOCK_ACCOUNTS, tenant, _rows(keys))


def changing(
    *,
    tenant: str | None,
    now: datetime,
    accounts: Sequence[Account],
    new_transactions: Sequence[Transaction],
    changed_transactions: Sequence[Transaction],
    new_entries: Sequence[Entry],
    events: Sequence[tuple[str, NewEvent]] = (),
) -> tuple[Any, ...]:
    """The statement that writes the changes of a batch and its events, and its parameters.

    It raises asyncpg.UniqueViolationError if another batch inserted one of the new rows first.

    Args:
        now: the database's time, read in this transaction after the accounts were locked.
        events: tenant and event, in the order in which they happened.
    """
    # Sorted, so that two batches with the same new ids cannot deadlock.
    return chosen(
        statements.WRITE_CHANGES,
        tenant,
        _rows(accounts),
        _rows(sorted(new_transactions, key=_KEY)),
        _changes(sorted(changed_transactions, key=_KEY)),
        _rows(new_entries),
        *columns_of(events),
        now,
    )


async def touch_transactions(
    connection: asyncpg.Connection, keys: Iterable[TransactionKey], now: datetime, tenant: str | None
) -> None:
    await execute(connection, statements.TOUCH_TRANSACTIONS, tenant, _rows(sorted(keys)), now)


async def write_answers(
    connection: asyncpg.Connection, answers: Mapping[AnswerKey, KeptAnswer], tenant: str | None
) -> bool:
    """False if another batch stored an answer for one of the keys first."""
    rows = [(*key, *kept) for key, kept in answers.items()]
    columns = (list(column) for column in zip(*rows, strict=True))
    status = await execute(connection, statements.WRITE_ANSWERS, tenant, *columns)
    return int(status.rpartition(" ")[2]) == len(rows)


async def touch_answers(connection: asyncpg.Connection, keys: Iterable[AnswerKey], tenant: str | None) -> None:
    await execute(connection, statements.TOUCH_ANSWERS, tenant, _rows(sorted(keys)))


def _rows(found: Iterable[Any]) -> str:
    """JSON for `json_to_recordset`, from named tuples whose fields are named like the columns.

    One array for each column took the driver twice as long.
    """
    return orjson.dumps([row._asdict() for row in found]).decode()


def _changes(transactions: Iterable[Transaction]) -> str:
    """The same for a transaction's key and the columns that can change."""
    return orjson.dumps(
        [
            {
                "tenant": transaction.tenant,
                "vendor_id": transaction.vendor_id,
                "transaction_id": transaction.transaction_id,
                "state": transaction.state,
                "deducted": transaction.deducted,
                "refunded": transaction.refunded,
                "ended_at": transaction.ended_at,
            }
            for transaction in transactions
        ]
    ).decode()


def _key_of(transaction: Transaction) -> TransactionKey:
    return TransactionKey(transaction.tenant, transaction.vendor_id, transaction.transaction_id)


def _transaction(row: Sequence[Any]) -> Transaction:
    return Transaction(row[0], row[1], row[2], row[3], _STATES[row[4]], *row[5:12])


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(row[0], row[1], row[2], Kind(row[3]), *row[4:13])
