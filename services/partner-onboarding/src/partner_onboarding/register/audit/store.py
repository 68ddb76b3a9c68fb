"""Every statement about the audit: one adds, one reads, none changes."""

from collections.abc import Mapping
from typing import Any

from shared.events.outbox import record
from shared.request_frame import current_request
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit.domain import Action, Actor, Change, Entry
from partner_onboarding.register.audit.origin import current_origin
from partner_onboarding.register.events import event_of
from partner_onboarding.register.tables import audit_entries, events


async def add(
    connection: AsyncConnection,
    tenant: str,
    actor: Actor,
    action: Action,
    subject: str,
    details: Mapping[str, Any] | None = None,
    *,
    change: Change | None = None,
    origin: str | None = None,
    request_id: str | None = None,
) -> None:
    """Writes an entry in the transaction of the act, so that neither exists without the other.

    What a client needs to hear of becomes an event as well.

    Args:
        details: what else there is to say; never a secret, a person's name or address.
        change: what was before, and what is after; None for acts that change no record.
        origin, request_id: of an act that is written down later; else those of the request under way.
    """
    request = current_request.get()
    told = dict(details or {}) | (change.details if change is not None else {})
    await connection.execute(
        insert(audit_entries).values(
            tenant=tenant,
            actor_kind=actor.kind,
            actor=actor.name,
            action=action,
            subject=subject,
            details=told,
            origin=origin or current_origin.get(),
            request_id=request_id or (None if request is None else request.request_id),
        )
    )
    event = event_of(action, subject, told)
    if event is not None:
        await record(connection, events, tenant, [event])


async def newest(connection: AsyncConnection, tenant: str, before: int | None, limit: int) -> list[Entry]:
    """The tenant's entries before this number, newest first."""
    query = select(audit_entries).where(audit_entries.c.tenant == tenant)
    if before is not None:
        query = query.where(audit_entries.c.entry_id < before)
    rows = await connection.execute(query.order_by(audit_entries.c.entry_id.desc()).limit(limit))
    return [
        Entry(
            row.entry_id,
            row.recorded_at,
            Actor(row.actor_kind, row.actor),
            row.action,
            row.subject,
            row.details,
            row.origin,
            row.request_id,
        )
        for row in rows
    ]
