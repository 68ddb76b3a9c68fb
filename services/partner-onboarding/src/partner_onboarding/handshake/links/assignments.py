"""Every statement about assignments."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.links.domain import Link
from partner_onboarding.handshake.links.periods import Assignment, month_of
from partner_onboarding.handshake.tables import assignments


async def add_assignments(connection: AsyncConnection, link: Link, starts: Sequence[datetime]) -> list[datetime]:
    """Assigns a month for each period; a billed month stays unchanged. Returns the beginnings of the new ones."""
    added = await connection.execute(
        insert_or_nothing(assignments)
        .values(
            [
                {
                    "tenant": link.tenant,
                    "client_id": link.client_id,
                    "user_id": link.user_id,
                    "n": link.n,
                    "month": month_of(start),
                    "assigned_at": start,
                }
                for start in starts
            ]
        )
        .on_conflict_do_nothing(index_elements=["tenant", "client_id", "month", "user_id"])
        .returning(assignments.c.assigned_at)
    )
    return sorted(added.scalars())


async def assignments_of_partner(connection: AsyncConnection, tenant: str, client_id: str) -> list[Assignment]:
    """All assignments of a partner, oldest first."""
    rows = await connection.execute(
        select(assignments)
        .where(assignments.c.tenant == tenant, assignments.c.client_id == client_id)
        .order_by(assignments.c.assigned_at, assignments.c.user_id)
    )
    return [_assignment(row) for row in rows]


async def assignments_of_month(
    connection: AsyncConnection, tenant: str, client_id: str, month: date
) -> list[Assignment]:
    rows = await connection.execute(
        select(assignments)
        .where(assignments.c.tenant == tenant, assignments.c.client_id == client_id, assignments.c.month == month)
        .order_by(assignments.c.assigned_at, assignments.c.user_id)
    )
    return [_assignment(row) for row in rows]


async def assignments_of_user(
    connection: AsyncConnection, tenant: str, user_id: str
) -> list[tuple[str, int, datetime]]:
    """Client, link and beginning of all assignments of a person, oldest first."""
    rows = await connection.execute(
        select(assignments.c.client_id, assignments.c.n, assignments.c.assigned_at)
        .where(assignments.c.tenant == tenant, assignments.c.user_id == user_id)
        .order_by(assignments.c.assigned_at)
    )
    return [(row.client_id, row.n, row.assigned_at) for row in rows]


def _assignment(row: Row[Any]) -> Assignment:
    return Assignment(row.user_id, row.months, row.assigned_at)
