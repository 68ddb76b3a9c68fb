"""Processes that do one thing with events, to be killed: `python -m platform_testing.event_processes deliver|write …`.

`EventProcess` starts one. `deliver` does the chores of a service's events; `write` records events, one a transaction,
and says so after each COMMIT.
"""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from local_platform.parents import end_with_parent
from shared.chores import Chores
from shared.db import Database
from shared.events import outbox
from shared.events.build import Events
from shared.events.domain import Audience, NewEvent, Reader, Topic
from shared.events.tables import define_event_tables
from shared.idempotency import Answers, define_answers_table
from shared.sealing import Sealer

from platform_testing.databases import alone_with

TENANT: Final = "crowded"
READER: Final = Reader(TENANT, "platform", None)
metadata = sa.MetaData()
TABLES: Final = define_event_tables(metadata)
_ANSWERS: Final = define_answers_table(metadata)
_TOPIC: Final = Topic("crowd", ("crowd.came",), (Audience(("points:read",)),))
#: Nothing that it seals outlives a test.
_SEALER: Final = Sealer({1: b"only for tests".ljust(32)})


def build(database: Database) -> Events:
    return Events(
        database, TABLES, _TOPIC, sealer=_SEALER, answers=Answers(database, _ANSWERS, _SEALER), development=True
    )


@asynccontextmanager
async def crowd(url: str) -> AsyncIterator[tuple[Database, Events]]:
    """The tables in an empty database, and what this process does with them."""
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    events = build(database)
    yield database, events
    await events.close()
    await database.dispose()


async def record(database: Database, count: int) -> None:
    """Records so many events, a hundred in a transaction."""
    for first in range(0, count, 100):
        numbers = range(first, min(first + 100, count))
        async with database.transaction() as connection:
            happened = [NewEvent("crowd.came", {"number": number}) for number in numbers]
            await outbox.record(connection, TABLES, TENANT, happened)


async def let_time_pass(database: Database) -> None:
    """What a process had taken that was killed is due again, without waiting for the time that it had."""
    async with database.transaction() as connection:
        await connection.execute(sa.text(alone_with(TABLES.deliveries.fullname)))
        waiting = sa.update(TABLES.deliveries).where(TABLES.deliveries.c.state == "waiting")
        await connection.execute(waiting.values(next_attempt_at=sa.func.now()))


@dataclass
class EventProcess:
    """A running process of this module."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls, *arguments: str) -> "EventProcess":
        """Returns as soon as it has begun its work."""
        command = (sys.executable, "-m", "platform_testing.event_processes", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, preexec_fn=end_with_parent(signal.SIGKILL)
        )
        started = cls(process)
        assert await started.line() == "begun"
        return started

    @classmethod
    async def start_two(cls, *arguments: str) -> "list[EventProcess]":
        return list(await asyncio.gather(cls.start(*arguments), cls.start(*arguments)))

    async def line(self) -> str:
        """The next line of its output; empty when it has ended."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()

    async def kill(self) -> None:
        """By `kill -9`."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


async def _deliver(url: str) -> None:
    database = Database(url)
    async with Chores().running(*build(database).chores()):
        print("begun", flush=True)
        await asyncio.Event().wait()


async def _write(url: str, writer: str, count: int) -> None:
    database = Database(url)
    print("begun", flush=True)
    for turn in range(count):
        async with database.transaction() as connection:
            event = NewEvent("crowd.came", {"writer": writer, "turn": turn}, f"vendor-{writer}")
            await outbox.record(connection, TABLES, TENANT, [event])
            # The later the commit, the more lies behind a number that others have passed.
            await asyncio.sleep(random.uniform(0, 0.01))  # noqa: S311 — not a secret
        print(turn, flush=True)
    await database.dispose()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["deliver", to]:
            asyncio.run(_deliver(to))
        case ["write", to, name, turns]:
            asyncio.run(_write(to, name, int(turns)))
