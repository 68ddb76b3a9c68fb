"""Sends due deliveries, a few of each endpoint at a time, so that a slow or dead one delays no other.

A delivery is taken by moving its next attempt into the future. A process that is killed while it sends leaves it to be
sent again (at least once, never lost), and two replicas do not take the same one.
"""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Database
from shared.events import endpoints as endpoint_rows
from shared.events import feed
from shared.events.deliveries import delivery_of
from shared.events.domain import (
    DISABLED_AFTER,
    Delivery,
    DeliveryState,
    Endpoint,
    Event,
    Outcome,
    Topic,
    pause_after,
)
from shared.events.endpoints import Endpoints
from shared.events.sending import ATTEMPT_SECONDS, Sender
from shared.events.tables import EventTables

_ENDPOINTS_AT_ONCE: Final = 100
#: Of one endpoint at the same time, and of all of a process.
_OF_ONE_ENDPOINT: Final = 4
_AT_THE_SAME_TIME: Final = 64
#: How long a replica that took a delivery has it to itself.
_TAKEN_FOR: Final = timedelta(seconds=ATTEMPT_SECONDS + 20)
_log = structlog.get_logger("events")
_attempts = Counter("events_attempts", "Attempts to deliver an event.", ["topic", "outcome"])
_oldest = Gauge("events_delivery_lag_seconds", "How long the oldest delivery that is due has been due.", ["topic"])
_disabled = Counter("events_endpoints_disabled", "Endpoints that the service disabled.", ["topic", "reason"])


class Dispatcher:
    """Sends a topic's events. One a process."""

    def __init__(
        self, database: Database, tables: EventTables, topic: Topic, endpoints: Endpoints, sender: Sender
    ) -> None:
        self._database = database
        self._tables = tables
        self._topic = topic
        self._endpoints = endpoints
        self._sender = sender
        self._sending: set[asyncio.Task[None]] = set()
        #: How many deliveries of an endpoint this process is sending.
        self._busy: dict[tuple[str, str], int] = {}

    async def send_due(self) -> int:
        """Begins to send due deliveries; returns how many it took.

        It does not wait for the receivers: each delivery goes on by itself, and `close` waits for them.
        """
        taken = 0
        for tenant, endpoint_id in await self._endpoints_with_due():
            free = _OF_ONE_ENDPOINT - self._busy.get((tenant, endpoint_id), 0)
            if free <= 0 or len(self._sending) >= _AT_THE_SAME_TIME:
                continue
            for delivery in await self._take(tenant, endpoint_id, free):
                taken += 1
                self._begin(delivery)
        return taken

    async def wait(self) -> None:
        """Waits for running attempts, at most as long as one may take."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=ATTEMPT_SECONDS)

    def abandon(self) -> None:
        """Cancels running attempts; they are repeated later."""
        for task in tuple(self._sending):
            task.cancel()

    async def close(self) -> None:
        """Ends within the time of one attempt."""
        await self.wait()
        self.abandon()
        await self._sender.aclose()

    async def _endpoints_with_due(self) -> list[tuple[str, str]]:
        deliveries, endpoints = self._tables.deliveries, self._tables.endpoints
        due_since = func.min(deliveries.c.next_attempt_at)
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                select(
                    deliveries.c.tenant,
                    deliveries.c.endpoint_id,
                    func.extract("epoch", func.now() - due_since).label("seconds"),
                )
                .join(
                    endpoints,
                    and_(
                        endpoints.c.tenant == deliveries.c.tenant, endpoints.c.endpoint_id == deliveries.c.endpoint_id
                    ),
                )
                .where(deliveries.c.state == "waiting", deliveries.c.next_attempt_at <= func.now(), endpoints.c.enabled)
                .group_by(deliveries.c.tenant, deliveries.c.endpoint_id)
                .order_by(due_since)
                .limit(_ENDPOINTS_AT_ONCE)
            )
            found = list(rows)
        _oldest.labels(self._topic.name).set(max((float(row.seconds) for row in found), default=0.0))
        return [(row.tenant, row.endpoint_id) for row in found]

    async def _take(self, tenant: str, endpoint_id: str, at_most: int) -> list[Delivery]:
        columns = self._tables.deliveries.c
        due = (
            select(columns.number)
            .where(
                columns.tenant == tenant,
                columns.endpoint_id == endpoint_id,
                columns.state == "waiting",
                columns.next_attempt_at <= func.now(),
            )
            .order_by(columns.next_attempt_at, columns.number)
            .limit(at_most)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                update(self._tables.deliveries)
                .where(columns.tenant == tenant, columns.endpoint_id == endpoint_id, columns.number.in_(due))
                .values(next_attempt_at=func.now() + _TAKEN_FOR)
                .returning(self._tables.deliveries)
            )
            return [delivery_of(row) for row in rows]

    def _begin(self, delivery: Delivery) -> None:
        key = (delivery.tenant, delivery.endpoint_id)
        self._busy[key] = self._busy.get(key, 0) + 1
        task = asyncio.create_task(self._deliver(delivery), name="event-delivery")
        self._sending.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._sending.discard(done)
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
            if not done.cancelled() and (trouble := done.exception()) is not None:
                _log.error("a delivery broke off; it is taken again", topic=self._topic.name, error=repr(trouble))

        task.add_done_callback(ended)

    async def _deliver(self, delivery: Delivery) -> None:
        async with self._database.transaction() as connection:
            endpoint, event, secrets = await self._look_up(connection, delivery)
        if endpoint is None:
            return
        if event is None:
            outcome = Outcome(None, "event_is_gone", 0)
        else:
            outcome = await self._sender.send(endpoint.url, secrets, event)
        await self._settle(delivery, outcome, is_over=event is None)

    async def _look_up(
        self, connection: AsyncConnection, delivery: Delivery
    ) -> tuple[Endpoint | None, Event | None, list[str]]:
        columns = self._tables.endpoints.c
        row = (
            await connection.execute(
                select(self._tables.endpoints, func.now().label("now")).where(
                    columns.tenant == delivery.tenant, columns.endpoint_id == delivery.endpoint_id, columns.enabled
                )
            )
        ).one_or_none()
        if row is None:
            return None, None, []
        endpoint = endpoint_rows.endpoint_of(row)
        event = await feed.event_of(connection, self._tables, endpoint.reader, delivery.event_id)
        return endpoint, event, await self._endpoints.secrets_of(connection, endpoint, row.now)

    async def _settle(self, delivery: Delivery, outcome: Outcome, *, is_over: bool) -> None:
        """Writes the outcome of an attempt, for the delivery and for its endpoint."""
        attempts = delivery.attempts + 1
        # Jitter: not a secret.
        pause = None if is_over else pause_after(attempts, random.random())  # noqa: S311
        state: DeliveryState = "delivered" if outcome.is_delivered else "waiting" if pause is not None else "failed"
        _attempts.labels(self._topic.name, "delivered" if outcome.is_delivered else "failed").inc()
        deliveries = self._tables.deliveries
        async with self._database.transaction() as connection:
            endpoint = await endpoint_rows.locked(connection, self._tables, delivery.tenant, delivery.endpoint_id)
            if endpoint is None:
                return
            await connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.tenant == delivery.tenant,
                    deliveries.c.endpoint_id == delivery.endpoint_id,
                    deliveries.c.number == delivery.number,
                    # It was sent again by hand meanwhile, and its attempts count from the beginning.
                    deliveries.c.attempts == delivery.attempts,
                )
                .values(
                    state=state,
                    attempts=attempts,
                    status=outcome.status,
                    error=outcome.error,
                    attempted_at=func.now(),
                    next_attempt_at=func.now() + pause if state == "waiting" and pause is not None else None,
                )
            )
            if not is_over:
                await self._note(connection, endpoint, outcome)

    async def _note(self, connection: AsyncConnection, endpoint: Endpoint, outcome: Outcome) -> None:
        if outcome.is_delivered:
            if endpoint.failing_since is not None:
                await endpoint_rows.change(connection, self._tables, endpoint, failing_since=None)
            return
        if outcome.is_gone:
            await self._disable(connection, endpoint, endpoint_rows.GONE)
            return
        now: datetime = (await connection.execute(select(func.now()))).scalar_one()
        if endpoint.failing_since is None:
            await endpoint_rows.change(connection, self._tables, endpoint, failing_since=now)
        elif now - endpoint.failing_since >= DISABLED_AFTER:
            await self._disable(connection, endpoint, endpoint_rows.FAILING)

    async def _disable(self, connection: AsyncConnection, endpoint: Endpoint, reason: str) -> None:
        if await endpoint_rows.disable(connection, self._tables, endpoint, reason):
            _disabled.labels(self._topic.name, reason).inc()
