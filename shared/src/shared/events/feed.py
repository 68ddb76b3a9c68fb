"""The order of events, and reading them in it.

A reader keeps the number behind which it goes on. Numbers are given without gaps under a lock of the tenant, and a
transaction that gives some has committed before the next one begins: a reader that has seen number n misses none below
n, whatever else commits late. Nobody waits for a stranger's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Gauge
from sqlalchemy import DateTime, Select, case, cast, column, delete, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Database
from shared.events.domain import KEPT_FOR, Event, Reader, key_of
from shared.events.tables import IS_WAITING, EventTables
from shared.paging import InvalidCursor

_TENANTS_AT_ONCE: Final = 100
#: Rows that are numbered for one tenant in one transaction.
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
        batches, positions = tables.batches.fullname, tables.positions.fullname
        # Past SQLAlchemy, which takes longer for them than PostgreSQL does.
        self._waiting = f"""
SELECT tenant, extract(epoch FROM now() - min(recorded_at))::float8 AS seconds
  FROM {batches}
 WHERE {IS_WAITING}
 GROUP BY tenant
 ORDER BY min(recorded_at)
 LIMIT $1
"""  # noqa: S608 — our own names
        self._lock_position = f"""
INSERT INTO {positions} AS kept (tenant) VALUES ($1)
    ON CONFLICT (tenant) DO UPDATE SET last_number = kept.last_number
RETURNING last_number
"""  # noqa: S608 — our own names
        self._number = f"""
WITH waiting AS (
  SELECT batch, key, size FROM {batches} WHERE tenant = $1 AND {IS_WAITING} ORDER BY batch LIMIT $3
), placed AS (
  SELECT key, $2 + sum(size) OVER (ORDER BY batch) AS last_number FROM waiting
), numbered AS (
  UPDATE {batches} b SET last_number = placed.last_number
    FROM placed
   WHERE b.tenant = $1 AND b.key = placed.key
  RETURNING b.last_number
), moved AS (
  UPDATE {positions} SET last_number = (SELECT max(last_number) FROM placed)
   WHERE tenant = $1 AND EXISTS (SELECT FROM placed)
)
SELECT count(*) FROM numbered
"""  # noqa: S608 — our own names

    async def number_recorded(self) -> int:
        """The sequencer: numbers recorded events; returns how many rows it took.

        Several replicas may do so at once: for one tenant they take turns.
        """
        async with self._database.raw_statement() as connection:
            found = await connection.fetch(self._waiting, _TENANTS_AT_ONCE)
        self._lag.set(max((row["seconds"] for row in found), default=0.0))
        return sum([await self._number_tenant(row["tenant"]) for row in found])

    async def read(self, reader: Reader, *, after: str | None, types: Sequence[str], limit: int) -> Page:
        """The reader's events behind `after`, oldest first.

        Args:
            after: `next_after` of an earlier page, or the id of an event; None for the oldest kept.

        Raises:
            InvalidCursor: `after` is neither.
        """
        async with self._database.transaction() as connection:
            number = await self._number_of(connection, reader, after)
            # Read first, so that an event that is numbered after this is not skipped.
            last = await last_number(connection, self._tables, reader.tenant)
            events = await events_behind(connection, self._tables, reader.tenant, reader.owner, types, number, limit)
        # A short page ends where the list ends, so that nobody looks through strangers' events again and again.
        reached = events[-1].number if events else number
        return Page(events, str(reached if len(events) == limit else max(reached, last)))

    async def forget_old(self) -> int:
        """Deletes what is older than 30 days, in slices; returns how many rows."""
        columns = self._tables.batches.c
        async with self._database.transaction() as connection:
            old = (
                select(columns.tenant, columns.key)
                .where(columns.recorded_at < func.now() - KEPT_FOR)
                .limit(_DELETED_AT_ONCE)
                .subquery()
            )
            result = await connection.execute(
                delete(self._tables.batches).where(columns.tenant == old.c.tenant, columns.key == old.c.key)
            )
            return result.rowcount

    async def _number_tenant(self, tenant: str) -> int:
        async with self._database.raw_transaction() as connection:
            last = await connection.fetchval(self._lock_position, tenant)
            # A statement of its own, so that it sees what the last holder of the lock has numbered.
            rows: int = await connection.fetchval(self._number, tenant, last, ROWS_AT_ONCE)
        return rows

    async def _number_of(self, connection: AsyncConnection, reader: Reader, after: str | None) -> int:
        if after is None:
            return 0
        if after.isascii() and after.isdecimal() and len(after) <= 19 and int(after) <= _MAX_NUMBER:
            return int(after)
        event = await event_of(connection, self._tables, reader, after)
        if event is None:
            raise InvalidCursor
        return event.number


def numbered_events(tables: EventTables, tenant: str, owner: str | None, *, behind: int = 0) -> Select[Any]:
    """A tenant's events behind a number, a row each with the columns of `Event`: all, or one owner's."""
    batches = tables.batches
    told = (
        func.json_array_elements(cast(batches.c.events, JSON))
        .table_valued(column("event", JSON), with_ordinality="place", joins_implicitly=True)
        .render_derived("told")
    )
    number = batches.c.last_number - batches.c.size + told.c.place
    # The first event of a row has no suffix: most rows hold one event.
    suffix = case((told.c.place == 1, ""), else_=func.concat("_", told.c.place - 1))
    query = select(
        number.label("number"),
        func.concat("evt_", batches.c.key, suffix).label("event_id"),
        told.c.event["type"].astext.label("type"),
        batches.c.owner,
        cast(told.c.event["at"].astext, DateTime(timezone=True)).label("happened_at"),
        told.c.event["data"].label("data"),
    ).where(batches.c.tenant == tenant, batches.c.last_number > behind, number > behind)
    return query if owner is None else query.where(batches.c.owner == owner)


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
    query = events_from(tables, tenant, owner, types, number, limit)
    return [Event(*row) for row in await connection.execute(query)]


def events_from(
    tables: EventTables, tenant: str, owner: str | None, types: Sequence[str], number: int, limit: int
) -> Select[Any]:
    """The same as a query."""
    query = numbered_events(tables, tenant, owner, behind=number)
    if types:
        # Rows that do not even hold the word need not be taken apart.
        told = (func.strpos(tables.batches.c.events, f'"{name}"') > 0 for name in types)
        query = query.where(or_(*told), query.selected_columns["type"].in_(types))
    # In the order of the index; the rest of the order is that within a row.
    return query.order_by(tables.batches.c.last_number, literal_column("place")).limit(limit)


async def last_number(connection: AsyncConnection, tables: EventTables, tenant: str) -> int:
    """The number of the tenant's last event; 0 before there is one."""
    positions = tables.positions
    found = await connection.execute(select(positions.c.last_number).where(positions.c.tenant == tenant))
    return found.scalar_one_or_none() or 0


async def event_of(connection: AsyncConnection, tables: EventTables, reader: Reader, event_id: str) -> Event | None:
    """The event with this id, if the reader sees it."""
    return (await events_of(connection, tables, reader, [event_id])).get(event_id)


async def events_of(
    connection: AsyncConnection, tables: EventTables, reader: Reader, event_ids: Sequence[str]
) -> dict[str, Event]:
    """The events with these ids that the reader sees, by id."""
    keys = {key for event_id in event_ids if (key := key_of(event_id)) is not None}
    query = numbered_events(tables, reader.tenant, reader.owner)
    query = query.where(tables.batches.c.key.in_(keys), query.selected_columns["event_id"].in_(event_ids))
    return {row.event_id: Event(*row) for row in await connection.execute(query)}
