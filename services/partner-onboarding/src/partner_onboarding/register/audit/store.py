"""Every statement about the audit: one adds, one reads, none changes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from shared.events.outbox import record
from shared.origins import current_origin
from shared.request_frame import current_request
from shared.times import earlier
from sqlalchemy import ColumnElement, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit.domain import EVERYTHING, Action, Actor, Change, Entry, Filter
from partner_onboarding.register.events import event_of
from partner_onboarding.register.tables import audit_entries, events

#: Entries that one question looks through; without a bound, a search for nothing would read all there ever were.
LOOKED_THROUGH: Final = 20_000
#: By how much the order of the numbers may differ from that of the times: how long a transaction takes.
_DISORDER: Final = timedelta(minutes=5)


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


async def newest(
    connection: AsyncConnection, tenant: str, before: int | None, limit: int, wanted: Filter = EVERYTHING
) -> tuple[list[Entry], int | None]:
    """The tenant's entries before this number, newest first.

    A filter looks through a bounded number of entries. Where it finds fewer than `limit` among these and there are
    more, the number of the last one that it looked at comes as well.
    """
    columns = audit_entries.c
    query = select(audit_entries).where(columns.tenant == tenant)
    if before is not None:
        query = query.where(columns.entry_id < before)
    query = query.order_by(columns.entry_id.desc())
    if wanted == EVERYTHING:
        return [_entry(row) for row in await connection.execute(query.limit(limit))], None
    looked_at = query.limit(LOOKED_THROUGH).subquery()
    extent = (func.min(looked_at.c.entry_id), func.max(looked_at.c.entry_id), func.min(looked_at.c.recorded_at))
    last, first, earliest = (await connection.execute(select(*extent))).one()
    if last is None:
        return [], None
    within = (columns.tenant == tenant, columns.entry_id.between(last, first))
    matching = select(audit_entries).where(*within, *_conditions(wanted))
    matching = matching.order_by(columns.entry_id.desc()).limit(limit)
    found = [_entry(row) for row in await connection.execute(matching)]
    if len(found) == limit or (wanted.since is not None and earliest < earlier(wanted.since, _DISORDER)):
        return found, None
    rest = select(columns.entry_id).where(columns.tenant == tenant, columns.entry_id < last).limit(1)
    return found, None if (await connection.execute(rest)).first() is None else last


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    columns, asked = audit_entries.c, []
    if wanted.text is not None:
        searched = (columns.actor, columns.subject, columns.origin, columns.request_id)
        asked.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in searched)))
    if wanted.action is not None:
        asked.append(columns.action == wanted.action)
    if wanted.actor_kind is not None:
        asked.append(columns.actor_kind == wanted.actor_kind)
    if wanted.since is not None:
        asked.append(columns.recorded_at >= wanted.since)
    if wanted.until is not None:
        asked.append(columns.recorded_at < wanted.until)
    return asked


def _entry(row: Any) -> Entry:
    return Entry(
        row.entry_id,
        row.recorded_at,
        Actor(row.actor_kind, row.actor),
        row.action,
        row.subject,
        row.details,
        row.origin,
        row.request_id,
    )
