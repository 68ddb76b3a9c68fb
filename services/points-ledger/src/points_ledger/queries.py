"""Reads, and the few writes that move no points. Connection first; returns domain types or None."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from points_ledger.domain.accounts import Account
from points_ledger.domain.transactions import State, Transaction
from points_ledger.tables import HELD, ONE_TO_SWEEP, accounts, transactions, vendors


@dataclass(frozen=True, slots=True)
class Balance:
    """An account at one moment; points of holds that expired by then are available."""

    account: Account
    as_of: datetime


@dataclass(frozen=True, slots=True)
class OpenHolds:
    """Open holds of all tenants, with expired ones that are not released yet."""

    points: int
    #: The age of the oldest, 0 if there is none.
    oldest_seconds: float


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


async def users_with_expired_holds(connection: AsyncConnection, limit: int) -> dict[tuple[str, str], int]:
    """Account → how many of the `limit` oldest expired holds belong to it."""
    columns = transactions.c
    due = (
        sa.select(columns.tenant, columns.user_id)
        .where(ONE_TO_SWEEP, columns.expires_at <= sa.func.clock_timestamp())
        .order_by(columns.expires_at)
        .limit(limit)
        .subquery()
    )
    owners = (due.c.tenant, due.c.user_id)
    rows = await connection.execute(sa.select(*owners, sa.func.count().label("holds")).group_by(*owners))
    return {(row.tenant, row.user_id): row.holds for row in rows}


async def open_holds(connection: AsyncConnection) -> OpenHolds:
    """Reads every row that is held, and no others."""
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.min(transactions.c.created_at))
    statement = sa.select(
        sa.func.coalesce(sa.func.sum(transactions.c.points), 0).label("points"),
        sa.func.coalesce(age, 0).label("oldest_seconds"),
    ).where(HELD)
    row = (await connection.execute(statement)).one()
    return OpenHolds(int(row.points), float(row.oldest_seconds))


async def set_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str, hold_seconds: int) -> None:
    statement = postgresql.insert(vendors).values(tenant=tenant, vendor_id=vendor_id, hold_seconds=hold_seconds)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[vendors.c.tenant, vendors.c.vendor_id], set_={"hold_seconds": hold_seconds}
        )
    )


async def read_hold_seconds(connection: AsyncConnection, tenant: str, vendor_id: str) -> int | None:
    seconds: int | None = await connection.scalar(
        sa.select(vendors.c.hold_seconds).where(vendors.c.tenant == tenant, vendors.c.vendor_id == vendor_id)
    )
    return seconds


def transaction_columns() -> list[sa.Column[Any]]:
    """The columns in the order of `Transaction`'s fields."""
    return [column for column in transactions.columns if column.name != "touched_at"]


def transaction_of(row: Any) -> Transaction:
    """From a row that begins with `transaction_columns()`."""
    return Transaction(row[0], row[1], row[2], row[3], State(row[4]), *row[5:12])
