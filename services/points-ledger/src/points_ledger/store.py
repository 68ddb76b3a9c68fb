"""The SQL of the lines of commands. Connection first; returns domain types.

The hot statements take whole batches as JSON and run on a plain asyncpg connection. They lock accounts first, in the
order of (tenant, user_id), so that two batches cannot deadlock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

import asyncpg
import orjson
from shared.events.domain import NewEvent
from shared.events.outbox import columns_of, recording

from points_ledger.domain.accounts import Account, Entry, Kind
from points_ledger.domain.transactions import State, Transaction
from points_ledger.events import transaction_moved


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


#: Begins every statement of a transaction that has taken a time for its rows. `eai.queries` looks for it.
DATED: Final = "/* dated */"
#: Looked up for each row that is read: `State(…)` takes several times as long.
_STATES: Final = {state.value: state for state in State}
#: A transaction's key, to sort by.
_KEY: Final = itemgetter(0, 1, 2)

_TRANSACTION = (
    "t.tenant, t.vendor_id, t.transaction_id, t.user_id, t.state, t.points, t.deducted, t.refunded, t.description,"
    " t.created_at, t.expires_at, t.ended_at"
)
_ENTRY = (
    "e.tenant, e.user_id, e.number, e.kind, e.points, e.balance, e.source, e.reference, e.reason, e.created_at,"
    " e.client_id, e.subject, e.request_id"
)

_LOCK_ACCOUNTS = """
SELECT a.tenant, a.user_id, a.available, a.held, a.entries, a.closed_at
  FROM points_ledger.accounts a
  JOIN json_to_recordset($1::json) AS wanted (tenant text, user_id text) USING (tenant, user_id)
 ORDER BY a.tenant, a.user_id
   FOR NO KEY UPDATE OF a
"""

# A separate statement after the locks: it sees everything that earlier holders of the locks committed, and it reads the
# clock that decides expiry when nobody else can change these accounts. A row that is both named and expired comes
# twice.
#
# LATERAL with OFFSET makes PostgreSQL look up each row by its index. Otherwise, without statistics of a young table,
# the planner reads all holds of all accounts and keeps that plan.


def _read_transactions_with(at_most: int) -> str:
    """A text for each number: with a parameter in its place, the server would plan the statement each time anew."""
    return f"""{DATED}
WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS now)
SELECT moment.now, found.*
  FROM moment
  LEFT JOIN (
    SELECT known.*, false AS is_due
      FROM json_to_recordset($1::json) AS named (tenant text, vendor_id text, transaction_id text),
           LATERAL (SELECT {_TRANSACTION}
                      FROM points_ledger.transactions t
                     WHERE t.tenant = named.tenant AND t.vendor_id = named.vendor_id
                       AND t.transaction_id = named.transaction_id
                    OFFSET 0) AS known
     UNION ALL
    SELECT expired.*, true AS is_due
      FROM moment, json_to_recordset($2::json) AS owner (tenant text, user_id text),
           LATERAL (SELECT {_TRANSACTION}
                      FROM points_ledger.transactions t
                     WHERE t.tenant = owner.tenant AND t.user_id = owner.user_id AND t.state = 'held'
                       AND t.expires_at <= moment.now
                     ORDER BY t.expires_at
                     LIMIT {at_most}) AS expired
  ) AS found ON true
"""  # noqa: S608 — the columns are a constant


#: For an account with few neighbours in its batch there is time for more of its holds.
_DUE: Final = (4, 16, 64, 256)
_READ_TRANSACTIONS: Final = {at_most: _read_transactions_with(at_most) for at_most in _DUE}

# What is due of an account altogether, or at least so many of them.
_SUM_DUE = f"""{DATED}
SELECT owner.tenant, owner.user_id, due.holds, due.points
  FROM json_to_recordset($1::json) AS owner (tenant text, user_id text),
       LATERAL (SELECT count(*) AS holds, coalesce(sum(points), 0)::bigint AS points
                  FROM (SELECT t.points
                          FROM points_ledger.transactions t
                         WHERE t.tenant = owner.tenant AND t.user_id = owner.user_id AND t.state = 'held'
                           AND t.expires_at <= $2
                         ORDER BY t.expires_at
                         LIMIT $3) AS looked_at) AS due
"""  # noqa: S608 — the mark is a constant

_COUNT_OPEN = f"""{DATED}
SELECT owner.tenant, owner.user_id, owner.vendor_id, opened.holds
  FROM json_to_recordset($1::json) AS owner (tenant text, user_id text, vendor_id text),
       LATERAL (SELECT count(*) AS holds
                  FROM (SELECT 1
                          FROM points_ledger.transactions t
                         WHERE t.tenant = owner.tenant AND t.user_id = owner.user_id AND t.state = 'held'
                           AND t.vendor_id = owner.vendor_id AND t.expires_at > $2
                         LIMIT $3) AS looked_at) AS opened
"""  # noqa: S608 — the mark is a constant

# What is due of the named holds, whose accounts are locked. The database does all of it; the released holds come back
# as they were, so that their events are told.
_RELEASE_DUE = f"""{DATED}
WITH due AS MATERIALIZED (
  SELECT found.*
    FROM json_to_recordset($1::json) AS named (tenant text, vendor_id text, transaction_id text),
         LATERAL (SELECT {_TRANSACTION}
                    FROM points_ledger.transactions t
                   WHERE t.tenant = named.tenant AND t.vendor_id = named.vendor_id
                     AND t.transaction_id = named.transaction_id
                  OFFSET 0) AS found
   WHERE found.state = 'held' AND found.expires_at <= $2
), released AS (
  UPDATE points_ledger.transactions t
     SET state = 'expired', ended_at = due.expires_at, touched_at = clock_timestamp()
    FROM due
   WHERE t.tenant = due.tenant AND t.vendor_id = due.vendor_id AND t.transaction_id = due.transaction_id
), given_back AS (
  UPDATE points_ledger.accounts a
     SET available = CASE WHEN a.closed_at IS NULL THEN a.available + sums.points ELSE 0 END,
         held = a.held - sums.points,
         entries = a.entries + (a.closed_at IS NOT NULL)::int
    FROM (SELECT tenant, user_id, sum(points)::bigint AS points FROM due GROUP BY tenant, user_id) AS sums
   WHERE a.tenant = sums.tenant AND a.user_id = sums.user_id
  RETURNING a.tenant, a.user_id, a.entries, a.available + a.held AS total, a.closed_at, sums.points
), lapsed AS (
  INSERT INTO points_ledger.entries
         (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at)
  SELECT tenant, user_id, entries, 'lapse', -points, total, '', entries::text, 'account closed', $2
    FROM given_back
   WHERE closed_at IS NOT NULL
)
SELECT * FROM due
"""  # noqa: S608 — the mark is a constant

_READ_ENTRIES = f"""{DATED}
SELECT {_ENTRY}
  FROM json_to_recordset($1::json)
       AS named (tenant text, user_id text, kind text, source text, reference text)
  JOIN points_ledger.entries e USING (tenant, user_id, kind, source, reference)
"""  # noqa: S608 — the columns are a constant

_READ_ANSWERS = f"""{DATED}
SELECT tenant, client_id, key, fingerprint, answer
  FROM json_to_recordset($1::json) AS named (tenant text, client_id text, key text)
  JOIN points_ledger.idempotent_answers USING (tenant, client_id, key)
 WHERE created_at >= now() - interval '24 hours'
"""  # noqa: S608 — the mark is a constant

# All changes of a batch in one statement: each further one would cost as much as ten decisions. None of the four parts
# reads what another writes, and the rows of accounts and transactions are locked or new.
_WRITE_CHANGES = f"""{DATED}
WITH kept_accounts AS (
  UPDATE points_ledger.accounts a
     SET available = new.available, held = new.held, entries = new.entries, closed_at = new.closed_at
    FROM json_to_recordset($1::json)
         AS new (tenant text, user_id text, available bigint, held bigint, entries bigint, closed_at timestamptz)
   WHERE a.tenant = new.tenant AND a.user_id = new.user_id
), new_transactions AS (
  INSERT INTO points_ledger.transactions
         (tenant, vendor_id, transaction_id, user_id, state, points, deducted, refunded, description,
          created_at, expires_at, ended_at, touched_at)
  SELECT new.*, clock_timestamp()
    FROM json_to_recordset($2::json)
         AS new (tenant text, vendor_id text, transaction_id text, user_id text, state text, points bigint,
                 deducted bigint, refunded bigint, description text, created_at timestamptz, expires_at timestamptz,
                 ended_at timestamptz)
), changed_transactions AS (
  UPDATE points_ledger.transactions t
     SET state = new.state, deducted = new.deducted, refunded = new.refunded, ended_at = new.ended_at,
         touched_at = clock_timestamp()
    FROM json_to_recordset($3::json)
         AS new (tenant text, vendor_id text, transaction_id text, state text, deducted bigint, refunded bigint,
                 ended_at timestamptz)
   WHERE t.tenant = new.tenant AND t.vendor_id = new.vendor_id AND t.transaction_id = new.transaction_id
), told AS (
  {recording("points_ledger", 5)}
)
INSERT INTO points_ledger.entries
       (tenant, user_id, number, kind, points, balance, source, reference, reason, created_at,
        client_id, subject, request_id)
SELECT * FROM json_to_recordset($4::json)
    AS new (tenant text, user_id text, number bigint, kind text, points bigint, balance bigint, source text,
            reference text, reason text, created_at timestamptz, client_id text, subject text, request_id text)
"""  # noqa: S608 — the mark is a constant

_TELL = f"{DATED}\n{recording('points_ledger')}"

_TOUCH_TRANSACTIONS = f"""{DATED}
UPDATE points_ledger.transactions t
   SET touched_at = clock_timestamp()
  FROM (SELECT tenant, vendor_id, transaction_id
          FROM json_to_recordset($1::json) AS named (tenant text, vendor_id text, transaction_id text)
          JOIN points_ledger.transactions found USING (tenant, vendor_id, transaction_id)
           FOR NO KEY UPDATE OF found SKIP LOCKED) free
 WHERE t.tenant = free.tenant AND t.vendor_id = free.vendor_id AND t.transaction_id = free.transaction_id
"""  # noqa: S608 — the mark is a constant

# An answer older than 24 h is replaced. A younger one, written by another batch, makes the count too small.
_WRITE_ANSWERS = f"""{DATED}
INSERT INTO points_ledger.idempotent_answers AS kept (tenant, client_id, key, fingerprint, answer)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[]) ORDER BY 1, 2, 3
    ON CONFLICT (tenant, client_id, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = now()
 WHERE kept.created_at < now() - interval '24 hours'
"""  # noqa: S608 — the mark is a constant

# Writes the row unchanged, so that the replay waits until the first answer is durable. It waits for no other batch.
_TOUCH_ANSWERS = f"""{DATED}
UPDATE points_ledger.idempotent_answers kept
   SET fingerprint = kept.fingerprint
  FROM (SELECT tenant, client_id, key
          FROM json_to_recordset($1::json) AS named (tenant text, client_id text, key text)
          JOIN points_ledger.idempotent_answers found USING (tenant, client_id, key)
           FOR NO KEY UPDATE OF found SKIP LOCKED) free
 WHERE kept.tenant = free.tenant AND kept.client_id = free.client_id AND kept.key = free.key
"""  # noqa: S608 — the mark is a constant


async def lock_accounts(connection: asyncpg.Connection, keys: Iterable[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts that exist, locked until the transaction ends."""
    rows = await connection.fetch(_LOCK_ACCOUNTS, _rows(keys))
    return {AccountKey(row[0], row[1]): Account(*row) for row in rows}


async def read_transactions(
    connection: asyncpg.Connection,
    keys: Iterable[TransactionKey],
    owners: Iterable[AccountKey],
    at_most: int,
) -> tuple[datetime, dict[TransactionKey, Transaction], Counter[AccountKey]]:
    """The database's current time, the named transactions and the oldest expired holds of `owners`, and how many
    of these each owner has among them: up to `at_most`, one of `due_in`'s numbers."""
    rows = await connection.fetch(_READ_TRANSACTIONS[at_most], _rows(keys), _rows(owners))
    found: dict[TransactionKey, Transaction] = {}
    due: Counter[AccountKey] = Counter()
    for row in map(tuple, rows):
        if row[1] is not None:
            transaction = _transaction(row[1:])
            found[_key_of(transaction)] = transaction
            if row[13]:
                due[AccountKey(transaction.tenant, transaction.user_id)] += 1
    return rows[0][0], found, due


def due_in(owners: int) -> int:
    """How many expired holds of each account a batch reads, with so many accounts that may have some."""
    return next((at_most for at_most in reversed(_DUE) if at_most * owners <= _DUE[-1]), _DUE[0])


async def sum_due(
    connection: asyncpg.Connection, owners: Iterable[AccountKey], now: datetime, at_most: int
) -> dict[AccountKey, Due]:
    """What is due of each account at `now`; not more than `at_most` holds are looked at."""
    rows = await connection.fetch(_SUM_DUE, _rows(owners), now, at_most)
    return {AccountKey(row[0], row[1]): Due(row[2], row[3]) for row in rows}


async def count_open(
    connection: asyncpg.Connection, keys: Iterable[HoldsKey], now: datetime, at_most: int
) -> dict[HoldsKey, int]:
    """How many holds of a vendor are open in an account at `now`; not more than `at_most` are counted."""
    rows = await connection.fetch(_COUNT_OPEN, _rows(keys), now, at_most)
    return {HoldsKey(row[0], row[1], row[2]): row[3] for row in rows}


async def release_due(connection: asyncpg.Connection, keys: Iterable[TransactionKey], now: datetime) -> int:
    """Releases the expired ones of these holds, whose accounts are locked, and tells of each; returns how many."""
    due = await connection.fetch(_RELEASE_DUE, _rows(keys), now)
    released = [_transaction(tuple(row)).as_of(now) for row in due]
    told = [(one.tenant, event) for one in released if (event := transaction_moved(one)) is not None]
    if told:
        await connection.execute(_TELL, *columns_of(told))
    return len(released)


async def read_clock(connection: asyncpg.Connection) -> datetime:
    """The database's current time."""
    now: datetime = await connection.fetchval(f"{DATED} SELECT clock_timestamp()")
    return now


async def read_entries(connection: asyncpg.Connection, keys: Iterable[EntryKey]) -> dict[EntryKey, Entry]:
    """The entries that were made under these references."""
    rows = await connection.fetch(_READ_ENTRIES, _rows(keys))
    found = (_entry(tuple(row)) for row in rows)
    return {EntryKey(e.tenant, e.user_id, e.kind.value, e.source, e.reference): e for e in found}


async def read_answers(connection: asyncpg.Connection, keys: Iterable[AnswerKey]) -> dict[AnswerKey, KeptAnswer]:
    """The answers given under these idempotency keys within the last 24 h."""
    rows = await connection.fetch(_READ_ANSWERS, _rows(keys))
    return {AnswerKey(*row[:3]): KeptAnswer(row[3], row[4]) for row in map(tuple, rows)}


async def write_changes(
    connection: asyncpg.Connection,
    *,
    accounts: Sequence[Account],
    new_transactions: Sequence[Transaction],
    changed_transactions: Sequence[Transaction],
    new_entries: Sequence[Entry],
    events: Sequence[tuple[str, NewEvent]] = (),
) -> None:
    """Writes the changes of a batch and what is told of them.

    Args:
        events: tenant and event, in the order in which they happened.

    Raises:
        asyncpg.UniqueViolationError: another batch inserted one of the new rows first.
    """
    # Sorted, so that two batches with the same new ids cannot deadlock.
    await connection.execute(
        _WRITE_CHANGES,
        _rows(accounts),
        _rows(sorted(new_transactions, key=_KEY)),
        _changes(sorted(changed_transactions, key=_KEY)),
        _rows(new_entries),
        *columns_of(events),
    )


async def touch_transactions(connection: asyncpg.Connection, keys: Iterable[TransactionKey]) -> None:
    await connection.execute(_TOUCH_TRANSACTIONS, _rows(sorted(keys)))


async def write_answers(connection: asyncpg.Connection, answers: Mapping[AnswerKey, KeptAnswer]) -> bool:
    """False if another batch stored an answer for one of the keys first."""
    rows = [(*key, *kept) for key, kept in answers.items()]
    columns = (list(column) for column in zip(*rows, strict=True))
    status: str = await connection.execute(_WRITE_ANSWERS, *columns)
    return int(status.rpartition(" ")[2]) == len(rows)


async def touch_answers(connection: asyncpg.Connection, keys: Iterable[AnswerKey]) -> None:
    await connection.execute(_TOUCH_ANSWERS, _rows(sorted(keys)))


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
