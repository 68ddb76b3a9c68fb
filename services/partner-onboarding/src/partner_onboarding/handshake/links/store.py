"""Every statement about links."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.links.domain import Link, LinkedPartner, RemovedBy
from partner_onboarding.handshake.tables import links
from partner_onboarding.register.tables import clients


async def add_link(connection: AsyncConnection, tenant: str, client_id: str, user_id: str, at: datetime) -> bool:
    """Links the person, unless there is a link already; returns whether there was none.

    The user's row is not locked. If two handshakes link the same person and partner at once, the unique index lets the
    second find the first one's link.
    """
    whose = (links.c.tenant == tenant) & (links.c.client_id == client_id) & (links.c.user_id == user_id)
    if (await connection.execute(select(links.c.n).where(whose, links.c.removed_at.is_(None)))).first() is not None:
        return False
    former = (await connection.execute(select(func.coalesce(func.max(links.c.n), 0)).where(whose))).scalar_one()
    added = await connection.execute(
        insert_or_nothing(links)
        .values(tenant=tenant, client_id=client_id, user_id=user_id, n=former + 1, linked_at=at)
        .on_conflict_do_nothing()
    )
    return bool(added.rowcount)


async def lock_present(connection: AsyncConnection, tenant: str, client_id: str, user_id: str) -> Link | None:
    """The present link, locked until the transaction ends."""
    row = (
        await connection.execute(
            select(links)
            .where(
                links.c.tenant == tenant,
                links.c.client_id == client_id,
                links.c.user_id == user_id,
                links.c.removed_at.is_(None),
            )
            .with_for_update()
        )
    ).one_or_none()
    return _link(row) if row is not None else None


async def lock_all_present(connection: AsyncConnection, tenant: str, user_id: str) -> list[Link]:
    """All present links of a person, locked in one order, so that two transactions cannot deadlock."""
    rows = await connection.execute(
        select(links)
        .where(links.c.tenant == tenant, links.c.user_id == user_id, links.c.removed_at.is_(None))
        .order_by(links.c.client_id)
        .with_for_update()
    )
    return [_link(row) for row in rows]


async def tenants_with_due(connection: AsyncConnection, now: datetime) -> list[str]:
    """Tenants with a link that has a due period."""
    rows = await connection.execute(
        select(links.c.tenant).where(links.c.next_assignment_at <= now).distinct().order_by(links.c.tenant)
    )
    return [row.tenant for row in rows]


async def oldest_due(connection: AsyncConnection, now: datetime) -> datetime | None:
    """Since when the oldest due period has been due; None if none is."""
    oldest: datetime | None = await connection.scalar(
        select(func.min(links.c.next_assignment_at)).where(links.c.next_assignment_at <= now)
    )
    return oldest


async def lock_due(connection: AsyncConnection, tenant: str, now: datetime, limit: int) -> list[Link]:
    """Locks links with a due period. Another replica waits here and then finds them done."""
    rows = await connection.execute(
        select(links)
        .where(links.c.tenant == tenant, links.c.next_assignment_at <= now)
        .order_by(links.c.client_id, links.c.user_id, links.c.n)
        .limit(limit)
        .with_for_update()
    )
    return [_link(row) for row in rows]


async def activate(connection: AsyncConnection, link: Link, at: datetime) -> None:
    await connection.execute(update(links).where(*_is(link)).values(activated_at=at, next_assignment_at=at))


async def set_assigned(
    connection: AsyncConnection, link: Link, months_assigned: int, next_assignment_at: datetime
) -> None:
    await connection.execute(
        update(links).where(*_is(link)).values(months_assigned=months_assigned, next_assignment_at=next_assignment_at)
    )


async def remove(connection: AsyncConnection, link: Link, at: datetime, by: RemovedBy) -> None:
    await connection.execute(
        update(links).where(*_is(link)).values(removed_at=at, removed_by=by, next_assignment_at=None)
    )


async def links_of_partner(connection: AsyncConnection, tenant: str, client_id: str) -> Sequence[Link]:
    """Everyone who is or was linked, in the order of first links."""
    rows = await connection.execute(
        select(links)
        .where(links.c.tenant == tenant, links.c.client_id == client_id)
        .order_by(links.c.linked_at, links.c.user_id, links.c.n)
    )
    return [_link(row) for row in rows]


async def partners_of(connection: AsyncConnection, tenant: str, user_id: str) -> list[LinkedPartner]:
    """The partners that a person is linked with, latest first."""
    rows = await connection.execute(
        select(links.c.client_id, clients.c.name, links.c.linked_at, links.c.activated_at)
        .join(clients, (clients.c.tenant == links.c.tenant) & (clients.c.client_id == links.c.client_id))
        .where(links.c.tenant == tenant, links.c.user_id == user_id, links.c.removed_at.is_(None))
        .order_by(links.c.linked_at.desc(), links.c.client_id)
    )
    return [LinkedPartner(row.client_id, row.name, row.linked_at, row.activated_at) for row in rows]


async def history_of(connection: AsyncConnection, tenant: str, user_id: str) -> list[tuple[str, Link]]:
    """All present and former links of a person with the partner's name, oldest first."""
    rows = await connection.execute(
        select(links, clients.c.name.label("partner_name"))
        .join(clients, (clients.c.tenant == links.c.tenant) & (clients.c.client_id == links.c.client_id))
        .where(links.c.tenant == tenant, links.c.user_id == user_id)
        .order_by(links.c.linked_at, links.c.client_id, links.c.n)
    )
    return [(row.partner_name, _link(row)) for row in rows]


def _is(link: Link) -> tuple[ColumnElement[bool], ...]:
    columns = links.c
    return (
        columns.tenant == link.tenant,
        columns.client_id == link.client_id,
        columns.user_id == link.user_id,
        columns.n == link.n,
    )


def _link(row: Row[Any]) -> Link:
    return Link(
        tenant=row.tenant,
        client_id=row.client_id,
        user_id=row.user_id,
        n=row.n,
        linked_at=row.linked_at,
        activated_at=row.activated_at,
        removed_at=row.removed_at,
        months_assigned=row.months_assigned,
        next_assignment_at=row.next_assignment_at,
    )
