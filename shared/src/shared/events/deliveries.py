"""Deliveries: one for each event that an endpoint wants. They stay for reading and for sending again.

`spread` makes them, endpoint by endpoint, behind the endpoint's position. `dispatching` sends them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, and_, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Database
from shared.events import endpoints as endpoint_rows
from shared.events import feed
from shared.events.domain import (
    KEPT_FOR,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointDisabled,
    EndpointNotFound,
    Event,
    EventNotFound,
    Outcome,
    Reader,
    Topic,
    new_key,
)
from shared.events.endpoints import Endpoints
from shared.events.sending import Sender
from shared.events.tables import EventTables
from shared.idempotency import Answer, Answers, RequestKey
from shared.paging import Listing, Number, Page
from shared.readings import Reading

#: Events that `spread` takes for one endpoint in one transaction.
EVENTS_AT_ONCE: Final = 500
_ENDPOINTS_AT_ONCE: Final = 100
_DELETED_AT_ONCE: Final = 10_000


class DeliveryPlace(NamedTuple):
    """Where a page of deliveries ends: they are listed newest event first."""

    number: Number


DELIVERIES: Final = Listing("event-deliveries", DeliveryPlace)


class Deliveries:
    """The deliveries of a topic. One a process."""

    def __init__(
        self,
        database: Database,
        tables: EventTables,
        topic: Topic,
        endpoints: Endpoints,
        sender: Sender,
        answers: Answers,
    ) -> None:
        self._database = database
        self._tables = tables
        self._topic = topic
        self._endpoints = endpoints
        self._sender = sender
        self._answers = answers
        columns, positions = tables.endpoints.c, tables.positions.c
        self._endpoints_behind = Reading(
            select(columns.tenant, columns.endpoint_id)
            .join(tables.positions, positions.tenant == columns.tenant)
            .where(columns.enabled, columns.position < positions.last_number)
            .limit(_ENDPOINTS_AT_ONCE)
        )

    async def spread(self) -> int:
        """Makes deliveries of new events; returns how many events the busiest endpoint took."""
        behind = await self._database.read(self._endpoints_behind)
        return max([await self._spread_to(row.tenant, row.endpoint_id) for row in behind], default=0)

    async def test(self, reader: Reader, endpoint_id: str) -> Outcome:
        """Sends `endpoint.test` at once and returns the outcome.

        Raises:
            EndpointNotFound
        """
        endpoint = await self._endpoints.get(reader, endpoint_id)
        async with self._database.transaction() as connection:
            now = (await connection.execute(select(func.now()))).scalar_one()
            secrets = await self._endpoints.secrets_of(connection, endpoint, now)
        test = Event(0, f"evt_{new_key()}", "endpoint.test", endpoint.owner, now, {"endpoint_id": endpoint_id})
        return await self._sender.send(endpoint.url, secrets, test)

    async def page(
        self, reader: Reader, endpoint_id: str, *, state: DeliveryState | None, cursor: str | None, limit: int
    ) -> Page[Delivery]:
        """The endpoint's deliveries, newest event first.

        Raises:
            EndpointNotFound, InvalidCursor
        """
        await self._endpoints.get(reader, endpoint_id)
        pages = DELIVERIES.of(reader.tenant, self._topic.name, endpoint_id, state=state)
        place = pages.place(cursor)
        deliveries = self._tables.deliveries
        query = select(deliveries).where(deliveries.c.tenant == reader.tenant, deliveries.c.endpoint_id == endpoint_id)
        if state is not None:
            query = query.where(deliveries.c.state == state)
        if place is not None:
            query = query.where(deliveries.c.number < place.number)
        async with self._database.transaction() as connection:
            rows = await connection.execute(query.order_by(deliveries.c.number.desc()).limit(limit + 1))
            found = [delivery_of(row) for row in rows]
        return pages.cut(found, limit, lambda delivery: DeliveryPlace(delivery.number))

    async def waiting(self) -> dict[tuple[str, str], int]:
        """How many deliveries wait, by tenant and endpoint; for operators."""
        columns = self._tables.deliveries.c
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(columns.tenant, columns.endpoint_id, func.count().label("waiting"))
                .where(columns.state == "waiting")
                .group_by(columns.tenant, columns.endpoint_id)
            )
            return {(row.tenant, row.endpoint_id): row.waiting for row in rows}

    async def replay(
        self, reader: Reader, endpoint_id: str, *, event_id: str | None = None, since: datetime | None = None
    ) -> int:
        """Sends one event again, or all of the endpoint's since an instant; returns how many will be sent.

        Raises:
            EndpointNotFound
            EndpointDisabled: enable it first.
            EventNotFound: the endpoint's client sees no such event.
        """
        async with self._database.transaction() as connection:
            return await self._replay(connection, reader, endpoint_id, event_id, since)

    async def replay_once(
        self,
        reader: Reader,
        endpoint_id: str,
        *,
        event_id: str | None,
        since: datetime | None,
        key: RequestKey | None,
        shape: Callable[[int], Answer],
    ) -> Answer:
        """The same; a repeat with the same key sends nothing again and gets the first answer."""

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self._replay(connection, reader, endpoint_id, event_id, since))

        return await self._answers.once(reader.tenant, reader.client_id, key, act)

    async def forget_old(self) -> int:
        """Deletes deliveries whose events are gone, in slices; returns how many.

        What waits for a disabled endpoint goes too: once its event is gone, nothing can be sent.
        """
        deliveries, endpoints = self._tables.deliveries, self._tables.endpoints
        async with self._database.transaction() as connection:
            old = (
                select(deliveries.c.tenant, deliveries.c.endpoint_id, deliveries.c.number)
                .join(
                    endpoints,
                    and_(
                        endpoints.c.tenant == deliveries.c.tenant, endpoints.c.endpoint_id == deliveries.c.endpoint_id
                    ),
                )
                .where(
                    func.coalesce(deliveries.c.attempted_at, deliveries.c.next_attempt_at) < func.now() - KEPT_FOR,
                    or_(deliveries.c.state != "waiting", endpoints.c.enabled.is_(False)),
                )
                .limit(_DELETED_AT_ONCE)
                .subquery()
            )
            result = await connection.execute(
                delete(deliveries).where(
                    deliveries.c.tenant == old.c.tenant,
                    deliveries.c.endpoint_id == old.c.endpoint_id,
                    deliveries.c.number == old.c.number,
                )
            )
            return result.rowcount

    async def _spread_to(self, tenant: str, endpoint_id: str) -> int:
        async with self._database.transaction() as connection:
            endpoint = await endpoint_rows.locked(connection, self._tables, tenant, endpoint_id)
            if endpoint is None or not endpoint.enabled:
                return 0
            # Read first, so that an event that is numbered after this is not skipped.
            last = await feed.last_number(connection, self._tables, tenant)
            # Within the database: the endpoint is locked meanwhile, and a note of a failure has to wait.
            numbers = await self._add_behind(connection, endpoint)
            if len(numbers) == EVENTS_AT_ONCE:
                last = max(numbers)
            elif numbers:
                last = max(last, *numbers)
            await endpoint_rows.change(connection, self._tables, endpoint, position=last)
        return len(numbers)

    async def _replay(
        self,
        connection: AsyncConnection,
        reader: Reader,
        endpoint_id: str,
        event_id: str | None,
        since: datetime | None,
    ) -> int:
        endpoint = await endpoint_rows.locked(connection, self._tables, reader.tenant, endpoint_id)
        if endpoint is None or endpoint.client_id != reader.client_id:
            raise EndpointNotFound("You have no such endpoint.")
        if not endpoint.enabled:
            raise EndpointDisabled("This endpoint is disabled. Enable it before you send events again.")
        if event_id is None:
            return await self._replay_since(connection, endpoint, since)
        found = await feed.event_of(connection, self._tables, endpoint.reader, event_id)
        if found is None:
            raise EventNotFound("There is no such event, or it is older than 30 days.")
        return await self._add(connection, endpoint, [found])

    async def _replay_since(self, connection: AsyncConnection, endpoint: Endpoint, since: datetime | None) -> int:
        query = feed.numbered_events(self._tables, endpoint.tenant, endpoint.owner)
        told = query.selected_columns
        query = query.where(told["number"] <= endpoint.position)
        if since is not None:
            query = query.where(told["happened_at"] >= since)
        if endpoint.types:
            query = query.where(told["type"].in_(endpoint.types))
        return (await connection.execute(self._adding(endpoint, query))).rowcount

    async def _add_behind(self, connection: AsyncConnection, endpoint: Endpoint) -> Sequence[int]:
        """Makes deliveries of what is behind the endpoint's position; returns their numbers."""
        query = feed.events_from(
            self._tables, endpoint.tenant, endpoint.owner, endpoint.types, endpoint.position, EVENTS_AT_ONCE
        )
        adding = self._adding(endpoint, query).returning(self._tables.deliveries.c.number)
        return (await connection.execute(adding)).scalars().all()

    def _adding(self, endpoint: Endpoint, query: Select[Any]) -> Any:
        """The statement that makes deliveries of the selected events."""
        events = query.subquery()
        rows = select(
            literal(endpoint.tenant).label("tenant"),
            literal(endpoint.endpoint_id).label("endpoint_id"),
            events.c.number,
            events.c.event_id,
            events.c.type,
            func.now().label("next_attempt_at"),
        )
        statement = upsert(self._tables.deliveries).from_select(
            ["tenant", "endpoint_id", "number", "event_id", "type", "next_attempt_at"], rows
        )
        return self._again(statement)

    async def _add(self, connection: AsyncConnection, endpoint: Endpoint, events: Sequence[Event]) -> int:
        if not events:
            return 0
        rows = [
            {
                "tenant": endpoint.tenant,
                "endpoint_id": endpoint.endpoint_id,
                "number": event.number,
                "event_id": event.event_id,
                "type": event.type,
                "next_attempt_at": func.now(),
            }
            for event in events
        ]
        await connection.execute(self._again(upsert(self._tables.deliveries).values(rows)))
        return len(rows)

    def _again(self, statement: Any) -> Any:
        """A delivery that succeeded or was given up waits again, from its first attempt on."""
        columns = self._tables.deliveries.c
        return statement.on_conflict_do_update(
            index_elements=[columns.tenant, columns.endpoint_id, columns.number],
            set_={"state": "waiting", "attempts": 0, "next_attempt_at": statement.excluded.next_attempt_at},
        )


def delivery_of(row: Row[Any]) -> Delivery:
    """A delivery out of its row."""
    return Delivery(
        tenant=row.tenant,
        endpoint_id=row.endpoint_id,
        number=row.number,
        event_id=row.event_id,
        type=row.type,
        state=row.state,
        attempts=row.attempts,
        status=row.status,
        error=row.error,
        attempted_at=row.attempted_at,
        next_attempt_at=row.next_attempt_at,
    )
