"""Reads of accounts, now and in the past, and their opening. Connection first; returns domain types or None."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa
from shared.paging import Listing, Number
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.accounts import Account, Entry, Kind
from points_ledger.domain.transactions import State
from points_ledger.tables import HELD, accounts, entries, transactions


class EntryPlace(NamedTuple):
    """Where a page of a statement ended."""

    number: Number


ENTRIES: Final = Listing("entries", EntryPlace)


@dataclass(frozen=True, slots=True)
class Balance:
    """An account at one moment; points of holds that expired by then are available."""

    account: Account
    as_of: datetime


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


async def read_balance(connection: AsyncConnection, tenant: str, user_id: str) -> Balance | None:
    """One statement, and so one snapshot of the account and its expired holds."""
    moment = sa.select(sa.func.clock_timestamp().label("now")).cte("moment")
    expired = (
        sa.select(sa.func.coalesce(sa.func.sum(transactions.c.points), 0))
        .where(
            transactions.c.tenant == accounts.c.tenant,
            transactions.c.user_id == accounts.c.user_id,
            HELD,
            transactions.c.expires_at <= moment.c.now,
        )
        .scalar_subquery()
    )
    statement = (
        sa.select(accounts.c.available, accounts.c.held, accounts.c.entries, expired.label("expired"), moment.c.now)
        .select_from(accounts.join(moment, sa.true()))
        .where(accounts.c.tenant == tenant, accounts.c.user_id == user_id)
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    expired_points = int(row.expired)
    return Balance(
        Account(tenant, user_id, row.available + expired_points, row.held - expired_points, row.entries), row.now
    )


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
    return [Entry(row[0], row[1], row[2], Kind(row[3]), *row[4:10]) for row in rows]
