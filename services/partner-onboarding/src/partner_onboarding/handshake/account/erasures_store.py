"""Every statement about erasures."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.tables import erasures


class Erased(NamedTuple):
    """A person who is gone."""

    tenant: str
    user_id: str
    erased_at: datetime


class Erasure(NamedTuple):
    """A person who is gone, and whose account in the ledger is still to be closed."""

    tenant: str
    user_id: str
    erased_at: datetime
    attempts: int


async def add(connection: AsyncConnection, tenant: str, user_id: str) -> None:
    await connection.execute(insert(erasures).values(tenant=tenant, user_id=user_id))


async def close_again(connection: AsyncConnection, tenant: str, user_id: str, erased_at: datetime) -> None:
    """Makes the closing of the account due once more, and notes the erasure where the journal does not know it."""
    of_person = (erasures.c.tenant == tenant, erasures.c.user_id == user_id)
    due = {"account_closed_at": None, "next_attempt_at": func.now()}
    if not (await connection.execute(update(erasures).where(*of_person).values(due))).rowcount:
        await connection.execute(insert(erasures).values(tenant=tenant, user_id=user_id, erased_at=erased_at))


async def read_since(
    connection: AsyncConnection, since: datetime, after: tuple[datetime, str, str] | None, limit: int
) -> list[Erased]:
    """A page of the journal, oldest first."""
    key = tuple_(erasures.c.erased_at, erasures.c.tenant, erasures.c.user_id)
    statement = (
        select(erasures.c.tenant, erasures.c.user_id, erasures.c.erased_at)
        .where(erasures.c.erased_at >= since)
        .order_by(erasures.c.erased_at, erasures.c.tenant, erasures.c.user_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(key > tuple_(*after))
    return [Erased(*row) for row in await connection.execute(statement)]


async def take_due(connection: AsyncConnection, limit: int, turn: timedelta) -> list[Erasure]:
    """Takes those that are due, oldest first; for the time of `turn` no other replica does."""
    due = (
        select(erasures)
        .where(erasures.c.next_attempt_at <= func.now())
        .order_by(erasures.c.next_attempt_at)
        .limit(limit)
    )
    # Not locked as they are read: they are of several tenants, whose rows may lie on several servers.
    seen = [Erasure(row.tenant, row.user_id, row.erased_at, row.attempts) for row in await connection.execute(due)]
    taken = set()
    # In the order of their keys, so that two replicas do not wait for each other in a circle.
    for erasure in sorted(seen, key=lambda one: (one.tenant, one.user_id, one.erased_at)):
        still_due = (*_is(erasure), erasures.c.next_attempt_at <= func.now())
        values = {"next_attempt_at": func.now() + turn, "attempts": erasure.attempts + 1}
        if (await connection.execute(update(erasures).where(*still_due).values(values))).rowcount:
            taken.add(erasure)
    return [erasure for erasure in seen if erasure in taken]


async def set_closed(connection: AsyncConnection, erasure: Erasure) -> None:
    values = {"account_closed_at": func.now(), "next_attempt_at": None}
    await connection.execute(update(erasures).where(*_is(erasure)).values(values))


async def set_next_attempt(connection: AsyncConnection, erasure: Erasure, pause: timedelta) -> None:
    await connection.execute(update(erasures).where(*_is(erasure)).values(next_attempt_at=func.now() + pause))


def _is(erasure: Erasure) -> tuple[ColumnElement[bool], ...]:
    return (
        erasures.c.tenant == erasure.tenant,
        erasures.c.user_id == erasure.user_id,
        erasures.c.erased_at == erasure.erased_at,
    )
