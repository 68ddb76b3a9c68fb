"""Records events in the transaction of the act, one row for all of them.

The order of a tenant's rows is that of `batch`. Two transactions that change the same thing lock it, so that the later
one takes its `batch` after the earlier one has committed: events of one transaction id never change places.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.events.domain import NewEvent, new_event_ids
from shared.events.tables import EventTables
from shared.times import iso


async def record(connection: AsyncConnection, tables: EventTables, tenant: str, events: Sequence[NewEvent]) -> None:
    """Records `events` in the transaction of `connection`."""
    if events:
        await connection.execute(insert(tables.outbox).values(tenant=tenant, events=rows_of(events)))


def rows_of(events: Sequence[NewEvent]) -> list[dict[str, Any]]:
    """What a row of the outbox holds of each event."""
    now = datetime.now(UTC)
    return [
        {
            "id": event_id,
            "type": event.type,
            "owner": event.owner,
            "at": iso(event.happened_at or now),
            "data": event.data,
        }
        for event_id, event in zip(new_event_ids(len(events)), events, strict=True)
    ]


def columns_of(events: Iterable[tuple[str, NewEvent]]) -> tuple[list[str], list[str]]:
    """Tenants and their events as JSON, a row a tenant, for a statement that goes past SQLAlchemy.

    Args:
        events: tenant and event, in the order in which they happened.
    """
    by_tenant: dict[str, list[NewEvent]] = {}
    for tenant, event in events:
        by_tenant.setdefault(tenant, []).append(event)
    return list(by_tenant), [json_of(one) for one in by_tenant.values()]


def json_of(events: Sequence[NewEvent]) -> str:
    """The same as text, for a statement that goes past SQLAlchemy."""
    return orjson.dumps(rows_of(events)).decode()
