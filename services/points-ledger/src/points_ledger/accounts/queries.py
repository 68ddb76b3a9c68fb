"""Reads of accounts, now and in the past, and their opening. Connection first; returns domain types or None."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from shared.db import Database
from shared.paging import Listing, Number
from shared.readings import Reading
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.accounts import Account, Entry, Kind
from points_ledger.tables import HELD, HELD_ONCE, LENGTH, LENGTHS, accounts, entries, hours, transactions

_TEXTS: Final = sa.ARRAY(sa.Text)
# One text for any number of accounts. With a row of VALUES for each, SQLAlchemy took longer to write the statement for
# a block of an import than the block takes to be booked, and nothing else went on meanwhile.
_OPEN_MISSING: Final = (
    postgresql.insert(accounts)
    .from_select(
        ["tenant", "user_id", "available", "held", "entries", "opened_at"],
        sa.select(
            sa.bindparam("tenant", type_=sa.Text),
            sa.func.unnest(sa.bindparam("user_ids", type_=_TEXTS)).column_valued("user_id"),
            *(sa.literal_column("0") for _ in range(3)),
            sa.func.now(),
        ),
    )
    .on_conflict_do_nothing()
)


class EntryPlace(NamedTuple):
    """Where a page of a statement ended."""

    number: Number


ENTRIES: Final = Listing("entries", EntryPlace)


@dataclass(frozen=True, slots=True)
class Balance:
    """An account at one moment; points of holds that expired by then are available."""

    account: Account
    as_of: datetime
    #: Points among the available ones whose holds are not released yet. A confirm that was decided before such a hold
    #: ended may be about to be committed, and takes them back.
    unreleased: int = 0


async def read_clock(connection: AsyncConnection) -> datetime:
    """The database's clock."""
    now: datetime = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    return now


async def open_account(connection: AsyncConnection, tenant: str, user_id: str) -> bool:
    """Whether the account was opened now; False if it existed."""
    statement = (
        postgresql.insert(accounts)
        .values(tenant=tenant, user_id=user_id, available=0, held=0, entries=0, opened_at=sa.func.now())
        .on_conflict_do_nothing()
        .returning(accounts.c.user_id)
    )
    if (await connection.execute(statement)).first() is not None:
        return True
    # A lock is a write: like every repeat, this one waits until the first answer is durable.
    columns = accounts.c
    there = sa.select(columns.user_id).where(columns.tenant == tenant, columns.user_id == user_id)
    await connection.execute(there.with_for_update(key_share=True))
    return False


async def open_accounts(connection: AsyncConnection, tenant: str, user_ids: Sequence[str]) -> None:
    """Opens those that are missing, in the given order."""
    await connection.execute(_OPEN_MISSING, {"tenant": tenant, "user_ids": user_ids})


async def read_accounts(connection: AsyncConnection, tenant: str, user_ids: Collection[str]) -> list[Account]:
    """Those that exist, as they are written."""
    columns = accounts.c
    statement = sa.select(
        columns.tenant, columns.user_id, columns.available, columns.held, columns.entries, columns.closed_at
    ).where(columns.tenant == tenant, columns.user_id == sa.any_(sa.literal(list(user_ids), sa.ARRAY(sa.Text))))
    return [Account(*row) for row in await connection.execute(statement)]


async def read_credits(
    connection: AsyncConnection, tenant: str, references: Collection[tuple[str, str]]
) -> list[Entry]:
    """The credits of these accounts with these references."""
    columns = entries.c
    named = (
        sa.func.unnest(
            sa.literal([user for user, _ in references], sa.ARRAY(sa.Text)),
            sa.literal([reference for _, reference in references], sa.ARRAY(sa.Text)),
        )
        .table_valued("user_id", "reference")
        .render_derived()
    )
    statement = sa.select(entries).join(
        named,
        sa.and_(
            columns.tenant == tenant,
            columns.user_id == named.c.user_id,
            columns.kind == Kind.CREDIT.value,
            columns.source == "",
            columns.reference == named.c.reference,
        ),
    )
    rows = await connection.execute(statement)
    return [Entry(row[0], row[1], row[2], Kind(row[3]), *row[4:13]) for row in rows]


_MOMENT: Final = sa.select(sa.func.clock_timestamp().label("now")).cte("moment")
_EXPIRED: Final = (
    sa.select(sa.func.coalesce(sa.func.sum(transactions.c.points), 0))
    .where(
        transactions.c.tenant == sa.bindparam("of_tenant"),
        transactions.c.user_id == accounts.c.user_id,
        HELD,
        transactions.c.expires_at <= _MOMENT.c.now,
    )
    .scalar_subquery()
)
#: One statement, and so one snapshot of the accounts and their expired holds.
_BALANCES: Final = (
    sa.select(
        accounts.c.user_id,
        accounts.c.available,
        accounts.c.held,
        accounts.c.entries,
        accounts.c.closed_at,
        _EXPIRED.label("expired"),
        _MOMENT.c.now,
    )
    .select_from(accounts.join(_MOMENT, sa.true()))
    .where(
        accounts.c.tenant == sa.bindparam("of_tenant"),
        accounts.c.user_id == sa.any_(sa.bindparam("user_ids", type_=_TEXTS)),
    )
)
_READ_BALANCES: Final = Reading(_BALANCES)
_LAPSED: Final = (
    sa.select(sa.func.coalesce(-sa.func.sum(entries.c.points), 0))
    .where(
        entries.c.tenant == sa.bindparam("of_tenant"),
        entries.c.user_id == accounts.c.user_id,
        entries.c.kind == Kind.LAPSE.value,
    )
    .scalar_subquery()
)
_BALANCES_AND_LAPSED: Final = _BALANCES.add_columns(_LAPSED.label("lapsed"))


async def read_balance(connection: AsyncConnection, tenant: str, user_id: str) -> Balance | None:
    """The balance at this moment, and certain: a confirm that may still take points of it is waited for."""
    row = await _read_certain(connection, _BALANCES, tenant, user_id)
    return None if row is None else _balance(tenant, row)


async def read_balance_and_lapsed(connection: AsyncConnection, tenant: str, user_id: str) -> tuple[Balance, int] | None:
    """The same of a closed account, and the points that have lapsed in it by then."""
    row = await _read_certain(connection, _BALANCES_AND_LAPSED, tenant, user_id)
    return None if row is None else (_balance(tenant, row), int(row.lapsed) + int(row.expired))


async def _read_certain(connection: AsyncConnection, statement: sa.Select[Any], tenant: str, user_id: str) -> Any:
    asked = {"of_tenant": tenant, "user_ids": [user_id]}
    row = (await connection.execute(statement, asked)).first()
    if row is not None and row.expired:
        await wait_for_writers(connection, tenant, user_id)
        row = (await connection.execute(statement, asked)).one()
    return row


async def read_balances(database: Database, tenant: str, user_ids: Sequence[str]) -> dict[str, Balance]:
    """The balances by user, of one moment; those without an account are left out.

    Raises:
        Unavailable: the database cannot be reached.
    """
    rows = await database.read(_READ_BALANCES, of_tenant=tenant, user_ids=list(user_ids))
    return {row.user_id: _balance(tenant, row) for row in rows}


def _balance(tenant: str, row: Any) -> Balance:
    account = Account(tenant, row.user_id, row.available, row.held, row.entries, row.closed_at)
    # What comes back to a closed account lapses.
    back = 0 if account.closed_at is not None else int(row.expired)
    return Balance(account.with_more(available=back, held=-int(row.expired)), row.now, int(row.expired))


# A hold that was open at the instant ended at most its own length later. So holds of each length are looked for just so
# far behind it: because of OFFSET by the index, whatever the planner thinks of a young table.
_LENGTHS: Final = ", ".join(f"({number}, interval '{hours(length)}')" for number, length in enumerate(LENGTHS))
_LONGEST: Final = f"interval '{hours(LENGTHS[-1])}'"
_BALANCE_AT: Final = sa.text(
    f"""
    WITH RECURSIVE search AS (
      SELECT 0::bigint AS low, a.entries AS high
        FROM points_ledger.accounts a
       WHERE a.tenant = :tenant AND a.user_id = :user_id
       UNION ALL
      SELECT CASE WHEN e.created_at < :until THEN e.number ELSE s.low END,
             CASE WHEN e.created_at < :until THEN s.high ELSE e.number - 1 END
        FROM search s,
             LATERAL (SELECT e.number, e.created_at
                        FROM points_ledger.entries e
                       WHERE e.tenant = :tenant AND e.user_id = :user_id
                         AND e.number <= s.low + (s.high - s.low + 1) / 2
                       ORDER BY e.number DESC
                       LIMIT 1) AS e
       WHERE s.low < s.high
    )
    SELECT newest.low AS number,
           coalesce((SELECT e.balance FROM points_ledger.entries e
                      WHERE e.tenant = :tenant AND e.user_id = :user_id AND e.number <= newest.low
                      ORDER BY e.number DESC
                      LIMIT 1), 0) AS total,
           (SELECT coalesce(sum(held.points), 0)::bigint
              FROM (SELECT t.points
                      FROM points_ledger.transactions t
                     WHERE t.tenant = :tenant AND t.user_id = :user_id AND t.state = 'held'
                       AND t.expires_at >= :until AND t.expires_at < CAST(:until AS timestamptz) + {_LONGEST}
                       AND t.created_at < :until
                     UNION ALL
                    SELECT ended.points
                      FROM (VALUES {_LENGTHS}) AS length (number, longest),
                           LATERAL (SELECT t.points
                                      FROM points_ledger.transactions t
                                     WHERE t.tenant = :tenant AND t.user_id = :user_id AND {HELD_ONCE.text}
                                       AND {LENGTH.text} = length.number AND t.ended_at >= :until
                                       AND t.ended_at < CAST(:until AS timestamptz) + length.longest
                                       AND t.expires_at >= :until AND t.created_at < :until
                                    OFFSET 0) AS ended) AS held) AS held,
           (SELECT a.closed_at < :until
              FROM points_ledger.accounts a
             WHERE a.tenant = :tenant AND a.user_id = :user_id) AS is_closed
      FROM search AS newest
     WHERE newest.low = newest.high
    """  # noqa: S608 — the conditions are constants
)


async def read_balance_at(connection: AsyncConnection, tenant: str, user_id: str, until: datetime) -> Account | None:
    """The account when all had happened that has a time before `until`; None if there is none.

    The newest entry by then is found by halving, since entries are numbered in the order of their times, without gaps:
    one is the last up to its number, which only one index can serve. Of holds that have ended, only those are read that
    ended within four times their own length, or within a second, after the instant.
    """
    given = {"tenant": tenant, "user_id": user_id, "until": until}
    row = (await connection.execute(_BALANCE_AT, given)).first()
    if row is None:
        return None
    # What an expired hold gives back to a closed account lapses at once; only the entry is written later.
    available = 0 if row.is_closed else row.total - row.held
    return Account(tenant, user_id, available, row.held, row.number)


async def wait_for_writers(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    """Returns when what is being written of the account is committed; nothing is written until this transaction ends.

    After it, the account has no more of what has a time before now.
    """
    columns = accounts.c
    there = sa.select(columns.user_id).where(columns.tenant == tenant, columns.user_id == user_id)
    await connection.execute(there.with_for_update(read=True))


async def read_entries(
    connection: AsyncConnection, tenant: str, user_id: str, *, before: EntryPlace | None, limit: int
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
        statement = statement.where(columns.number < before.number)
    rows = await connection.execute(statement)
    return [Entry(row[0], row[1], row[2], Kind(row[3]), *row[4:13]) for row in rows]
