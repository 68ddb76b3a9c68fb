"""The order of events, and reading them in it.

A reader keeps the number behind which it goes on. Numbers are given without gaps under a lock of the tenant, and a
transaction that gives some has committed before the next one begins: a reader that has seen number n misses none below
n, whatever else commits late. Nobody waits for a stranger's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import Gauge
from sqlalchemy import ColumnElement, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Database
from shared.events.domain import KEPT_FOR, Event, Reader
from shared.events.tables import EventTables
from shared.paging import InvalidCursor

_TENANTS_AT_ONCE: Final = 100
#: Rows of the outbox that are numbered for one tenant in one transaction.
ROWS_AT_ONCE: Final = 200
_DELETED_AT_ONCE: Final = 10_000
_MAX_NUMBER: Final = 2**63 - 1
_lag = Gauge("events_outbox_lag_seconds", "Age of the oldest event that has no number yet.", ["topic"])


@dataclass(frozen=True, slots=True)
class Page:
    """`next_after` is what to ask with next; it is never None."""

    events: list[Event]
    next_after: str


class Feed:
    """A topic's events in their order. One a process."""

    def __init__(self, database: Database, tables: EventTables, topic: str) -> None:
        self._database = database
        self._tables = tables
        self._lag = _lag.labels(topic)

    async def number_recorded(self) -> int:
        """The sequencer: numbers recorded events; returns how many rows of the outbox it took.

        Several replicas may do so at once: for one tenant they take turns.
        """
        outbox = self._tables.outbox
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(outbox.c.tenant, func.min(outbox.c.recorded_at).label("oldest"), func.now().label("now"))
                .group_by(outbox.c.tenant)
                .order_by(literal_column("oldest"))
                .limit(_TENANTS_AT_ONCE)
            )
            found = [(row.tenant, row.oldest, row.now) for row in rows]
        self._lag.set(max(((now - oldest).total_seconds() for _, oldest, now in found), default=0.0))
        taken = 0
        for tenant, _, _ in found:
            taken += await self._number_tenant(tenant)
        return taken

    async def read(self, reader: Reader, *, after: str | None, types: Sequence[str], limit: int) -> Page:
        """The reader's events behind `after`, oldest first.

        Args:
            after: `next_after` of an earlier page, or the id of an event; None for the oldest kept.

        Raises:
            InvalidCursor: `after` is neither.
        """
        async with self._database.transaction() as connection:
            number = await self._number_of(connection, reader, after)
            events = await events_behind(connection, self._tables, reader.tenant, reader.owner, types, number, limit)
        return Page(events, str(events[-1].number if events else number))

    async def forget_old(self) -> int:
        """Deletes what is older than 30 days, in slices; returns how many events."""
        events = self._tables.events
        async with self._database.transaction() as connection:
            old = (
                select(events.c.tenant, events.c.number)
                .where(events.c.recorded_at < func.now() - KEPT_FOR)
                .limit(_DELETED_AT_ONCE)
                .subquery()
            )
            result = await connection.execute(
                delete(events).where(events.c.tenant == old.c.tenant, events.c.number == old.c.number)
            )
            return result.rowcount

    async def _number_tenant(self, tenant: str) -> int:
        outbox, positions, events = self._tables.outbox, self._tables.positions, self._tables.events
        async with self._database.transaction() as connection:
            await connection.execute(insert_or_nothing(positions).values(tenant=tenant).on_conflict_do_nothing())
            last: int = (
                await connection.execute(
                    select(positions.c.last_number).where(positions.c.tenant == tenant).with_for_update()
                )
            ).scalar_one()
            rows = (
                await connection.execute(
                    select(outbox.c.batch, outbox.c.events)
                    .where(outbox.c.tenant == tenant)
                    .order_by(outbox.c.batch)
                    .limit(ROWS_AT_ONCE)
                )
            ).all()
            if not rows:
                return 0
            numbered = [
                {
                    "tenant": tenant,
                    "number": last + place,
                    "event_id": event["id"],
                    "type": event["type"],
                    "owner": event["owner"],
                    "happened_at": datetime.fromisoformat(event["at"]),
                    "data": event["data"],
                }
                for place, event in enumerate((one for row in rows for one in row.events), start=1)
            ]
            if numbered:
                await connection.execute(insert(events), numbered)
            await connection.execute(
                update(positions).where(positions.c.tenant == tenant).values(last_number=last + len(numbered))
            )
            await connection.execute(
                delete(outbox).where(outbox.c.tenant == tenant, outbox.c.batch.in_([row.batch for row in rows]))
            )
        return len(rows)

    async def _number_of(self, connection: AsyncConnection, reader: Reader, after: str | None) -> int:
        if after is None:
            return 0
        if after.isascii() and after.isdecimal() and len(after) <= 19 and int(after) <= _MAX_NUMBER:
            return int(after)
        event = await event_of(connection, self._tables, reader, after) if after.startswith("evt_") else None
        if event is None:
            raise InvalidCursor
        return event.number


async def events_behind(
    connection: AsyncConnection,
    tables: EventTables,
    tenant: str,
    owner: str | None,
    types: Sequence[str],
    number: int,
    limit: int,
) -> list[Event]:
    """Events behind `number`, oldest first: all of the tenant or one owner's, of all types or of some."""
    events = tables.events
    query = select(events).where(events.c.tenant == tenant, events.c.number > number, *_seen(tables, owner))
    if types:
        query = query.where(events.c.type.in_(types))
    rows = await connection.execute(query.order_by(events.c.number).limit(limit))
    return [Event(row.number, row.event_id, row.type, row.owner, row.happened_at, row.data) for row in rows]


async def last_number(connection: AsyncConnection, tables: EventTables, tenant: str) -> int:
    """The number of the tenant's last event; 0 before there is one."""
    positions = tables.positions
    found = await connection.execute(select(positions.c.last_number).where(positions.c.tenant == tenant))
    return found.scalar_one_or_none() or 0


async def event_of(connection: AsyncConnection, tables: EventTables, reader: Reader, event_id: str) -> Event | None:
    """The event, if the reader sees it."""
    events = tables.events
    row = (
        await connection.execute(
            select(events).where(
                events.c.tenant == reader.tenant, events.c.event_id == event_id, *_seen(tables, reader.owner)
            )
        )
    ).one_or_none()
    if row is None:
        return None
    return Event(row.number, row.event_id, row.type, row.owner, row.happened_at, row.data)


def _seen(tables: EventTables, owner: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if owner is None else (tables.events.c.owner == owner,)
