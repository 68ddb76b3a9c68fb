"""Puts the parts of a topic together; called by a service's `create_app`."""

from collections.abc import Iterable
from typing import Final, Self

import httpx
import sqlalchemy as sa
from fastapi import FastAPI

from shared.chores import Chore
from shared.db import Database
from shared.dependencies import provide
from shared.events.deliveries import EVENTS_AT_ONCE, Deliveries
from shared.events.destinations import Destinations
from shared.events.dispatching import Dispatcher
from shared.events.domain import Topic
from shared.events.endpoints import Endpoints
from shared.events.feed import ROWS_AT_ONCE, Feed
from shared.events.routes import events_router
from shared.events.sending import ATTEMPT_SECONDS, Sender
from shared.events.tables import EventTables
from shared.events.watching import EndpointsWatch
from shared.idempotency import Answers
from shared.sealing import Sealer
from shared.settings import Mode, ServiceSettings

#: An event is seen within two seconds.
_NUMBER_EVERY_SECONDS: Final = 0.4
_SPREAD_EVERY_SECONDS: Final = 0.5
_SEND_EVERY_SECONDS: Final = 0.5
_WATCH_EVERY_SECONDS: Final = 15.0
_FORGET_EVERY_SECONDS: Final = 600.0


class Events:
    """A service's topic: feed, endpoints and deliveries.

    Args:
        answers: sealed ones, since some answers hold a secret.
        own_ports: where the platform itself listens on the loopback network; never sent to.
        transport, attempt_seconds: handed in by tests.
    """

    def __init__(
        self,
        database: Database,
        tables: EventTables,
        topic: Topic,
        *,
        sealer: Sealer,
        answers: Answers,
        development: bool,
        own_ports: Iterable[int] = (),
        transport: httpx.AsyncBaseTransport | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.topic = topic
        self.feed = Feed(database, tables, topic.name)
        destinations = Destinations(development=development, own_ports=own_ports)
        self.endpoints = Endpoints(database, tables, topic, destinations, sealer, answers)
        sender = Sender(destinations, topic, transport=transport, attempt_seconds=attempt_seconds)
        self.deliveries = Deliveries(database, tables, topic, self.endpoints, sender, answers)
        self.dispatcher = Dispatcher(database, tables, topic, self.endpoints, sender)
        self.watch = EndpointsWatch(database, tables, topic)

    @classmethod
    def of(
        cls,
        settings: ServiceSettings,
        database: Database,
        tables: EventTables,
        topic: Topic,
        sealer: Sealer,
        answers: sa.Table,
    ) -> Self:
        """The topic of a service with these settings; `answers` is its table of idempotent answers."""
        return cls(
            database,
            tables,
            topic,
            sealer=sealer,
            answers=Answers(database, answers, sealer),
            development=settings.mode is Mode.DEVELOPMENT,
            own_ports=settings.own_ports,
        )

    def provide_to(self, app: FastAPI) -> None:
        """Adds the routes and hands them their parts."""
        provide(app, self.topic, self.feed, self.endpoints, self.deliveries)
        app.include_router(events_router(self.topic))

    def chores(self) -> tuple[Chore, ...]:
        """What is done from time to time, on every replica."""
        return (
            Chore("events-number", self.feed.number_recorded, _NUMBER_EVERY_SECONDS, full_slice=ROWS_AT_ONCE),
            Chore("events-spread", self.deliveries.spread, _SPREAD_EVERY_SECONDS, full_slice=EVENTS_AT_ONCE),
            Chore("events-send", self.dispatcher.send_due, _SEND_EVERY_SECONDS),
            Chore("events-watch", self.watch.look, _WATCH_EVERY_SECONDS),
            Chore("events-forget", self._forget_old, _FORGET_EVERY_SECONDS, full_slice=10_000),
        )

    async def close(self) -> None:
        """Waits for what is being sent, at most as long as one attempt may take."""
        await self.dispatcher.close()

    async def _forget_old(self) -> int:
        return max(await self.feed.forget_old(), await self.deliveries.forget_old())
