"""Sends due deliveries. Each endpoint has a lane of its own, so that a slow or dead one delays no other.

A lane takes some deliveries, sends a few at the same time, writes what came of them, and goes on as long as something
is due. What it cannot begin in time, since the receiver is slow or has failed, it gives back. An endpoint that fails is
tried once, then its lane ends; those that fail have lanes apart from the others.

A delivery is taken by moving its next attempt into the future. A process that is killed while it sends leaves it to be
sent again (at least once, never lost), and two replicas do not take the same one.
"""

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Interval, bindparam, func, select, update
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
from shared.events.sending import ATTEMPT_SECONDS, Conversation, Sender
from shared.events.tables import EventTables
from shared.readings import Reading
from shared.sealing import CannotOpen

_ENDPOINTS_AT_ONCE: Final = 500
#: Deliveries that a lane takes in one transaction.
_TAKEN_AT_ONCE: Final = 100
#: Deliveries that it sends at the same time.
_SENT_AT_ONCE: Final = 10
#: For how long it begins to send what it took.
_BEGINNING_SECONDS: Final = 10.0
#: Lanes of a process: of endpoints that work, of one client among them, and of endpoints that fail.
_LANES: Final = 40
_LANES_OF_ONE_CLIENT: Final = 10
_FAILING_LANES: Final = 40
#: Connections that all lanes together take from the pool, which belongs to requests.
_CONNECTIONS: Final = 2
#: How long a replica that took a delivery has it to itself: to begin, to end, and to write what came of it.
_TAKEN_FOR: Final = timedelta(seconds=_BEGINNING_SECONDS + ATTEMPT_SECONDS + 10)
#: What is no failure of the receiver.
_EVENT_IS_GONE: Final = "event_is_gone"
_INTERNAL: Final = "internal"
_log = structlog.get_logger("events")
_attempts = Counter("events_attempts", "Attempts to deliver an event.", ["topic", "outcome"])
_oldest = Gauge("events_delivery_lag_seconds", "How long the oldest delivery that is due has been due.", ["topic"])
_disabled = Counter("events_endpoints_disabled", "Endpoints that the service disabled.", ["topic", "reason"])


@dataclass(frozen=True, slots=True)
class _Due:
    """An endpoint that something is due for."""

    tenant: str
    endpoint_id: str
    client_id: str
    is_failing: bool


@dataclass(frozen=True, slots=True)
class _Taken:
    """Deliveries of one endpoint that this process has to itself, with their events; None is gone."""

    endpoint: Endpoint
    #: None: they cannot be opened.
    secrets: Sequence[str] | None
    deliveries: Sequence[tuple[Delivery, Event | None]]


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
        self._lanes: dict[_Due, asyncio.Task[None]] = {}
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._closing = False
        self._endpoints_due = _endpoints_due(tables)

    async def send_due(self) -> int:
        """Begins to send what is due; returns for how many endpoints.

        It does not wait for the receivers: each lane goes on by itself, and `close` waits for them.
        """
        begun = 0
        present = {(lane.tenant, lane.endpoint_id) for lane in self._lanes}
        for due in await self._endpoints_with_due():
            if (due.tenant, due.endpoint_id) not in present and self._has_room_for(due):
                self._begin(due)
                begun += 1
        return begun

    async def wait(self) -> None:
        """Waits until all present lanes have ended."""
        if self._lanes:
            await asyncio.wait(set(self._lanes.values()))

    def abandon(self) -> None:
        """Cancels running attempts; they are repeated later."""
        for task in tuple(self._lanes.values()):
            task.cancel()

    async def close(self) -> None:
        """Ends within the time of one attempt."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await self.wait()
        self.abandon()

    def _has_room_for(self, due: _Due) -> bool:
        of_kind = [lane for lane in self._lanes if lane.is_failing == due.is_failing]
        if due.is_failing:
            return len(of_kind) < _FAILING_LANES
        of_client = Tally((lane.tenant, lane.client_id) for lane in of_kind)
        return len(of_kind) < _LANES and of_client[due.tenant, due.client_id] < _LANES_OF_ONE_CLIENT

    async def _endpoints_with_due(self) -> list[_Due]:
        """Those that have waited longest come first."""
        async with self._connections:
            found = await self._database.read(self._endpoints_due)
        _oldest.labels(self._topic.name).set(max((float(row.seconds) for row in found), default=0.0))
        return [_Due(row.tenant, row.endpoint_id, row.client_id, row.is_failing) for row in found]

    def _begin(self, due: _Due) -> None:
        task = asyncio.create_task(self._serve(due), name="event-deliveries")
        self._lanes[due] = task

        def ended(done: asyncio.Task[None]) -> None:
            del self._lanes[due]
            if not done.cancelled() and (trouble := done.exception()) is not None:
                _log.error("deliveries broke off; they are taken again", topic=self._topic.name, error=repr(trouble))

        task.add_done_callback(ended)

    async def _serve(self, due: _Due) -> None:
        while not self._closing:
            async with self._connections:
                taken = await self._take(due)
            if taken is None:
                return
            outcomes = await self._send(taken)
            async with self._connections:
                works = await self._settle(taken, outcomes)
            # The others' turn, if there are as many as there may be.
            if not works or len(self._lanes) >= _LANES:
                return

    async def _take(self, due: _Due) -> _Taken | None:
        """What is due at the endpoint; None if nothing is, or it is enabled no more."""
        columns = self._tables.deliveries.c
        async with self._database.transaction() as connection:
            found = await self._endpoint(connection, due)
            if found is None:
                return None
            endpoint, now = found
            first = (
                select(columns.number)
                .where(
                    columns.tenant == due.tenant,
                    columns.endpoint_id == due.endpoint_id,
                    columns.state == "waiting",
                    columns.next_attempt_at <= func.now(),
                )
                .order_by(columns.next_attempt_at, columns.number)
                .limit(_TAKEN_AT_ONCE if endpoint.failing_since is None else 1)
                .with_for_update(skip_locked=True)
            )
            # By a statement of its own, whose numbers the UPDATE names: joined to it, PostgreSQL looked through all
            # deliveries of the endpoint while it had no statistics.
            numbers = (await connection.execute(first)).scalars().all()
            if not numbers:
                return None
            rows = await connection.execute(
                update(self._tables.deliveries)
                .where(
                    columns.tenant == due.tenant,
                    columns.endpoint_id == due.endpoint_id,
                    columns.number.in_(numbers),
                )
                .values(next_attempt_at=func.now() + _TAKEN_FOR)
                .returning(self._tables.deliveries)
            )
            deliveries = sorted((delivery_of(row) for row in rows), key=lambda delivery: delivery.number)
            events = await feed.events_of(
                connection, self._tables, endpoint.reader, [delivery.event_id for delivery in deliveries]
            )
            secrets = await self._secrets_of(connection, endpoint, now)
        return _Taken(endpoint, secrets, [(delivery, events.get(delivery.event_id)) for delivery in deliveries])

    async def _endpoint(self, connection: AsyncConnection, due: _Due) -> tuple[Endpoint, datetime] | None:
        """The endpoint, if it is enabled, and the present time."""
        columns = self._tables.endpoints.c
        query = select(self._tables.endpoints, func.now().label("now")).where(
            columns.tenant == due.tenant, columns.endpoint_id == due.endpoint_id, columns.enabled
        )
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else (endpoint_rows.endpoint_of(row), row.now)

    async def _secrets_of(self, connection: AsyncConnection, endpoint: Endpoint, now: datetime) -> Sequence[str] | None:
        try:
            return await self._endpoints.secrets_of(connection, endpoint, now)
        except CannotOpen as trouble:
            _log.error("an endpoint's secrets cannot be opened", topic=self._topic.name, error=str(trouble))
            return None

    async def _send(self, taken: _Taken) -> Sequence[Outcome | None]:
        """The outcomes in the order of the deliveries; None for those that were not begun."""
        if taken.secrets is None:
            return [Outcome(None, _INTERNAL, 0) for _ in taken.deliveries]
        outcomes: list[Outcome | None] = [None] * len(taken.deliveries)
        waiting = iter(enumerate(event for _, event in taken.deliveries))
        goes_on_until = time.monotonic() + _BEGINNING_SECONDS
        works = True

        async def send_some(secrets: Sequence[str]) -> None:
            nonlocal works
            async with self._sender.conversation(taken.endpoint.url, secrets) as conversation:
                # Each takes the next one from the same iterator.
                for place, event in waiting:
                    outcomes[place] = outcome = await self._attempt(conversation, event)
                    works = works and (outcome.is_delivered or event is None)
                    if not works or self._closing or time.monotonic() > goes_on_until:
                        return

        await asyncio.gather(*(send_some(taken.secrets) for _ in range(min(_SENT_AT_ONCE, len(outcomes)))))
        return outcomes

    async def _attempt(self, conversation: Conversation, event: Event | None) -> Outcome:
        if event is None:
            return Outcome(None, _EVENT_IS_GONE, 0)
        try:
            return await conversation.send(event)
        # A defect that one event brings to light must not keep back the others.
        except Exception:
            _log.exception("an attempt failed within", topic=self._topic.name, event_id=event.event_id)
            return Outcome(None, _INTERNAL, 0)

    async def _settle(self, taken: _Taken, outcomes: Sequence[Outcome | None]) -> bool:
        """Writes what came of the attempts, for the deliveries and for their endpoint. Returns whether it works."""
        attempted = [outcome for outcome in outcomes if outcome is not None]
        works = all(outcome.is_delivered for outcome in attempted)
        async with self._database.transaction() as connection:
            endpoint: Endpoint | None = taken.endpoint
            # An endpoint that goes on to work is not locked: the maker of its deliveries would have to wait.
            if taken.endpoint.failing_since is not None or not works:
                endpoint = await endpoint_rows.locked(
                    connection, self._tables, taken.endpoint.tenant, taken.endpoint.endpoint_id
                )
            if endpoint is None:
                return False
            await self._write(connection, taken, outcomes)
            # What an address answered says nothing about the one that has taken its place.
            if endpoint.url == taken.endpoint.url:
                await self._note(
                    connection, endpoint, [one for one in attempted if one.error not in (_EVENT_IS_GONE, _INTERNAL)]
                )
        for outcome in attempted:
            _attempts.labels(self._topic.name, "delivered" if outcome.is_delivered else "failed").inc()
        return works

    async def _write(self, connection: AsyncConnection, taken: _Taken, outcomes: Sequence[Outcome | None]) -> None:
        columns = self._tables.deliveries.c
        still_taken = update(self._tables.deliveries).where(
            columns.tenant == taken.endpoint.tenant,
            columns.endpoint_id == taken.endpoint.endpoint_id,
            # Otherwise it was sent again by hand meanwhile, or another process took it.
            columns.state == "waiting",
            columns.next_attempt_at == bindparam("taken_until"),
        )
        settled, given_back = [], []
        for (delivery, event), outcome in zip(taken.deliveries, outcomes, strict=True):
            if outcome is None:
                given_back.append(delivery.number)
            else:
                settled.append(_settled(delivery, outcome, is_over=event is None))
        await connection.execute(
            still_taken.where(columns.number == bindparam("of_number")).values(
                state=bindparam("now_state"),
                attempts=bindparam("now_attempts"),
                status=bindparam("now_status"),
                error=bindparam("now_error"),
                attempted_at=func.now(),
                next_attempt_at=func.now() + bindparam("pause", type_=Interval),
            ),
            settled,
        )
        if given_back:
            await connection.execute(
                still_taken.where(columns.number.in_(given_back)).values(next_attempt_at=func.now()),
                {"taken_until": taken.deliveries[0][0].next_attempt_at},
            )

    async def _note(self, connection: AsyncConnection, endpoint: Endpoint, outcomes: Sequence[Outcome]) -> None:
        if any(outcome.is_gone for outcome in outcomes):
            await self._disable(connection, endpoint, endpoint_rows.GONE)
        elif any(outcome.is_delivered for outcome in outcomes):
            if endpoint.failing_since is not None:
                await endpoint_rows.change(connection, self._tables, endpoint, failing_since=None)
        elif outcomes:
            now: datetime = (await connection.execute(select(func.now()))).scalar_one()
            if endpoint.failing_since is None:
                await endpoint_rows.change(connection, self._tables, endpoint, failing_since=now)
            elif now - endpoint.failing_since >= DISABLED_AFTER:
                await self._disable(connection, endpoint, endpoint_rows.FAILING)

    async def _disable(self, connection: AsyncConnection, endpoint: Endpoint, reason: str) -> None:
        if await endpoint_rows.disable(connection, self._tables, endpoint, reason):
            _disabled.labels(self._topic.name, reason).inc()


def _endpoints_due(tables: EventTables) -> Reading:
    deliveries, endpoints = tables.deliveries, tables.endpoints
    # The smallest time is one look into the index, and each server can take it for its own endpoints.
    first = (
        select(func.min(deliveries.c.next_attempt_at))
        .where(
            deliveries.c.tenant == endpoints.c.tenant,
            deliveries.c.endpoint_id == endpoints.c.endpoint_id,
            deliveries.c.state == "waiting",
        )
        .correlate(endpoints)
        .scalar_subquery()
    )
    enabled = (
        select(
            endpoints.c.tenant,
            endpoints.c.endpoint_id,
            endpoints.c.client_id,
            endpoints.c.failing_since.is_not(None).label("is_failing"),
            first.label("due_at"),
        )
        .where(endpoints.c.enabled)
        .subquery("enabled")
    )
    return Reading(
        select(
            enabled.c.tenant,
            enabled.c.endpoint_id,
            enabled.c.client_id,
            enabled.c.is_failing,
            func.extract("epoch", func.now() - enabled.c.due_at).label("seconds"),
        )
        .where(enabled.c.due_at <= func.now())
        .order_by(enabled.c.due_at)
        .limit(_ENDPOINTS_AT_ONCE)
    )


def _settled(delivery: Delivery, outcome: Outcome, *, is_over: bool) -> dict[str, object]:
    """The parameters that write an attempt's outcome."""
    attempts = delivery.attempts + 1
    # Jitter: not a secret.
    pause = None if outcome.is_delivered or is_over else pause_after(attempts, random.random())  # noqa: S311  # nosec B311
    state: DeliveryState = "delivered" if outcome.is_delivered else "waiting" if pause is not None else "failed"
    return {
        "of_number": delivery.number,
        "taken_until": delivery.next_attempt_at,
        "now_state": state,
        "now_attempts": attempts,
        "now_status": outcome.status,
        "now_error": outcome.error,
        "pause": pause,
    }
