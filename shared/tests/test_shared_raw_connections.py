"""Each connection has one borrower at a time, and nobody is handed one that has ended."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from shared.database_url import DatabaseUrl
from shared.raw_connections import RawConnections


@pytest.fixture
def connections(shared_url: str) -> Iterator[RawConnections]:
    connections = RawConnections(DatabaseUrl(shared_url).connect, at_most=2, to_readers=1, wait_seconds=0.05)
    yield connections
    connections.end()


async def process_id(connection: asyncpg.Connection) -> int:
    found: int = await connection.fetchval("SELECT pg_backend_pid()")
    return found


async def test_one_that_came_back_is_lent_again(connections: RawConnections) -> None:
    async with connections.lend() as first:
        process = await process_id(first)
    async with connections.lend() as again:
        assert await process_id(again) == process


async def test_at_the_same_time_nobody_shares_one_and_there_are_no_more_than_allowed(
    connections: RawConnections,
) -> None:
    async with connections.lend() as one, connections.lend() as other:
        assert await process_id(one) != await process_id(other)
        with pytest.raises(TimeoutError):
            async with connections.lend():
                pass
    async with connections.lend() as one:
        assert await one.fetchval("SELECT 1") == 1


async def test_who_waits_is_lent_the_next_that_comes_back(shared_url: str) -> None:
    connections = RawConnections(DatabaseUrl(shared_url).connect, at_most=1, to_readers=1, wait_seconds=30)
    async with connections.lend() as first:
        process = await process_id(first)
        waiting = asyncio.create_task(_process_of_one(connections))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == process
    connections.end()


async def test_however_many_read_the_others_have_connections_left(shared_url: str) -> None:
    connections = RawConnections(DatabaseUrl(shared_url).connect, at_most=2, to_readers=1, wait_seconds=30)
    async with connections.lend_to_reader():
        readers = [asyncio.create_task(_read(connections)) for _ in range(20)]
        await asyncio.sleep(0)
        async with connections.lend() as one:
            assert await one.fetchval("SELECT 1") == 1
        assert not any(reader.done() for reader in readers)
    assert await asyncio.gather(*readers) == [1] * 20
    connections.end()


async def _read(connections: RawConnections) -> int:
    async with connections.lend_to_reader() as connection:
        found: int = await connection.fetchval("SELECT 1")
    return found


async def _process_of_one(connections: RawConnections) -> int:
    async with connections.lend() as connection:
        return await process_id(connection)


async def test_one_that_its_borrower_has_ended_or_the_server_is_not_lent_again(connections: RawConnections) -> None:
    async with connections.lend() as ended, connections.lend() as killed:
        processes = {await process_id(ended), await process_id(killed)}
        gone = asyncio.Event()
        killed.add_termination_listener(lambda _: gone.set())
        await ended.fetchval("SELECT pg_terminate_backend($1, 5000)", await process_id(killed))
        await gone.wait()
        ended.terminate()
    async with connections.lend() as one, connections.lend() as other:
        assert processes.isdisjoint({await process_id(one), await process_id(other)})


async def test_a_server_that_cannot_be_reached_takes_no_turn_away(unused_tcp_port: int) -> None:
    nowhere = DatabaseUrl(f"postgresql://x:x@127.0.0.1:{unused_tcp_port}/x")
    connections = RawConnections(nowhere.connect, at_most=1, to_readers=1, wait_seconds=0.05)
    for _ in range(3):
        with pytest.raises(OSError, match=str(unused_tcp_port)):
            async with connections.lend():
                pass


async def test_after_the_end_one_that_comes_back_late_is_ended(connections: RawConnections) -> None:
    async with connections.lend() as late:
        connections.end()
        assert await late.fetchval("SELECT 1") == 1
    assert late.is_closed()
