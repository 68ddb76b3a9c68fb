"""Events among many processes that are killed: the list stays whole, and every delivery arrives."""

import asyncio
import secrets
from collections import Counter

import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.draining import drain
from platform_testing.event_processes import READER, EventProcess, crowd
from shared.events.build import Events

WRITERS, TURNS = 4, 40
Seen = list[tuple[str, int]]


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> str:
    name, password = f"crowd_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    postgres.create_role_and_database(name, password)
    return postgres.url(name, name, password)


async def follow(events: Events, seen: Seen, done: asyncio.Event) -> None:
    """Reads all the while, and to the end once everything is written and numbered."""
    after, is_last = None, False
    while not is_last:
        is_last = done.is_set()
        while True:
            page = await events.feed.read(READER, after=after, types=(), limit=7)
            after = page.next_after
            seen += [(event.data["writer"], event.data["turn"]) for event in page.events]
            if not page.events:
                break
        await asyncio.sleep(0.01)


async def written_by(writer: EventProcess, stop_after: int) -> int:
    """How many events it says it has committed, when it ends or is killed."""
    count = 0
    while await writer.line():
        count += 1
        if count == stop_after:
            await writer.kill()
    return count


async def test_a_reader_misses_none_and_sees_none_twice_whatever_is_killed(url: str) -> None:
    """Many processes write and commit late; two give numbers, and one of them is killed; a writer is killed as well."""
    async with crowd(url) as (_, events):
        seen: Seen = []
        done = asyncio.Event()
        following = asyncio.create_task(follow(events, seen, done))
        numbering = await EventProcess.start_two("deliver", url)
        starting = (EventProcess.start("write", url, str(name), str(TURNS)) for name in range(WRITERS))
        writers = await asyncio.gather(*starting)
        writing = [asyncio.create_task(written_by(each, TURNS if name else 15)) for name, each in enumerate(writers)]
        async with asyncio.timeout(60):
            while len(seen) < WRITERS * TURNS // 4:  # noqa: ASYNC110 - the reader says it to nobody
                await asyncio.sleep(0.01)
        await numbering[0].kill()
        numbering[0] = await EventProcess.start("deliver", url)
        committed = await asyncio.gather(*writing)
        for process in numbering:
            await process.kill()
        while await events.feed.number_recorded():
            pass
        done.set()
        await following
        for writer in writers:
            await writer.process.wait()
    assert set(Counter(seen).values()) == {1}
    for name, count in enumerate(committed):
        turns = [turn for writer, turn in seen if writer == str(name)]
        # Of the killed one, the last COMMIT may have come without a word about it.
        assert turns in ([*range(count)], [*range(count + (name == 0))]), name
    assert committed[1:] == [TURNS] * (WRITERS - 1)


async def test_two_processes_deliver_everything_once(url: str) -> None:
    drained = await drain(url, 600)
    assert (drained.events, drained.doubles) == (600, 0)


async def test_nothing_is_lost_by_kill_9_at_any_point(url: str) -> None:
    drained = await drain(url, 400, kills=2)
    assert (drained.events, drained.kills) == (400, 2)
