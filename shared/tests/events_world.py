"""A topic of events on a real database, with a receiver that answers as a test wants."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa
from platform_testing.databases import alone_with
from shared.callers import Caller
from shared.db import Database
from shared.events import outbox
from shared.events.build import Events
from shared.events.domain import Audience, NewEvent, Reader, Topic
from shared.events.tables import define_event_tables
from shared.idempotency import Answers, define_answers_table
from shared.sealing import Sealer

metadata = sa.MetaData()
TABLES = define_event_tables(metadata)
ANSWERS = define_answers_table(metadata)
URL = "http://127.0.0.1:9/hook"


def vendor_of(caller: Caller) -> str:
    return caller.vendor


TOPIC = Topic(
    "points",
    ("points.held", "points.confirmed"),
    (Audience(("points:read",)), Audience(("points:redeem",), vendor_of)),
)


@dataclass
class Receiver:
    """What an endpoint's owner runs. `answer` decides; every request is kept."""

    answer: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(204)
    requests: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)

    @property
    def event_ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]


class Network(httpx.MockTransport):
    """Hands answers over as a network does: unread."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if not hasattr(answer, "_content"):
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))


def build(database: Database, receiver: Any, **options: Any) -> Events:
    """A process's events; without a receiver they go out over the real network."""
    sealer = Sealer({1: secrets.token_bytes(32)}) if "sealer" not in options else options.pop("sealer")
    return Events(
        database,
        TABLES,
        TOPIC,
        sealer=sealer,
        answers=Answers(database, ANSWERS, sealer),
        development=True,
        transport=None if receiver is None else Network(receiver),
        **options,
    )


@dataclass
class World:
    """One process's events, seen by one tenant."""

    database: Database
    events: Events
    receiver: Receiver
    tenant: str

    @property
    def platform(self) -> Reader:
        return Reader(self.tenant, "platform", None)

    def vendor(self, name: str) -> Reader:
        return Reader(self.tenant, f"client-of-{name}", name)

    async def happen(self, *events: NewEvent) -> None:
        async with self.database.transaction() as connection:
            await outbox.record(connection, TABLES, self.tenant, events)

    async def settle(self) -> None:
        """All chores, until nothing is left that is due, and all that is being sent has come to an end."""
        await self.events.feed.number_recorded()
        await self.events.deliveries.spread()
        while await self.events.dispatcher.send_due():
            await self.events.dispatcher.wait()

    async def make_due(self) -> None:
        """Lets the time of every delivery that waits come."""
        async with self.database.transaction() as connection:
            await connection.execute(sa.text(alone_with(TABLES.deliveries.fullname)))
            await connection.execute(
                sa.update(TABLES.deliveries)
                .where(TABLES.deliveries.c.tenant == self.tenant, TABLES.deliveries.c.state == "waiting")
                .values(next_attempt_at=sa.func.now())
            )


def held(owner: str, transaction: str = "t-1") -> NewEvent:
    return NewEvent("points.held", {"transactionid": transaction, "state": "held"}, owner)
