"""The proxies do to requests and connections what they are meant to do."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from history.network import Answer, ClientProxy, DatabaseProxy, Line, Odds, read_message

NEVER = Odds(0, 0, 0, 0)


class Rolls(random.Random):
    """Rolls that are known before."""

    def __init__(self, *rolls: float) -> None:
        super().__init__()
        self._rolls = list(rolls)

    def random(self) -> float:
        return self._rolls.pop(0)


ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nIdempotency-Replayed: true\r\n\r\n{"is": "it"}'


class Server:
    """Answers every request, and counts them."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = asyncio.Queue[bytes]()
        self._news = asyncio.Condition()

    async def arrived(self, times: int) -> None:
        """Returns when so many requests are here."""
        async with self._news:
            await self._news.wait_for(lambda: self.asked.qsize() >= times)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                _, body = await read_message(reader)
                async with self._news:
                    self.asked.put_nowait(body)
                    self._news.notify_all()
                writer.write(ANSWER)
        except (OSError, EOFError):
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


async def ask(server: Server, odds: Odds, copied: list[int]) -> Answer | None:
    proxy = ClientProxy(server.port, random.Random(1), odds, copied.append)
    await proxy.start()
    line = Line(proxy.port, {})
    try:
        return await line.ask("POST", "/", {"a": 1}, headers={"X-Request-Id": "call-7"}, timeout_seconds=30)
    finally:
        if copied:
            await server.arrived(2)
        line.close()
        await proxy.stop()


async def test_without_trouble_a_request_is_answered(server: Server) -> None:
    assert await ask(server, NEVER, []) == Answer(200, {"is": "it"}, True)
    assert server.asked.qsize() == 1


async def test_a_lost_request_never_arrives(server: Server) -> None:
    assert await ask(server, NEVER._replace(lost_request=1), []) is None
    assert server.asked.empty()


async def test_a_request_arrives_whose_answer_is_lost(server: Server) -> None:
    assert await ask(server, NEVER._replace(lost_answer=1), []) is None
    assert await server.asked.get() == b'{"a": 1}'


async def test_a_late_request_is_answered_all_the_same(server: Server) -> None:
    answer = await ask(server, NEVER._replace(late=1), [])
    assert answer is not None


async def test_a_doubled_request_arrives_twice_and_its_copy_is_written_down(server: Server) -> None:
    copied: list[int] = []
    answer = await ask(server, NEVER._replace(doubled=1), copied)
    assert answer is not None
    assert copied == [7]
    assert server.asked.qsize() == 2


async def test_a_black_hole_keeps_what_it_swallows_until_it_is_over(server: Server) -> None:
    proxy = DatabaseProxy(server.port)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    await read_message(reader)

    proxy.swallow()
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    waiting = asyncio.ensure_future(read_message(reader))
    await asyncio.wait({waiting}, timeout=0.2)
    assert server.asked.qsize() == 1
    assert not waiting.done()

    proxy.pass_on()
    await waiting
    assert server.asked.qsize() == 2
    writer.close()
    await proxy.stop()


async def test_a_reset_ends_a_connection_at_once(server: Server) -> None:
    proxy = DatabaseProxy(server.port)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    await read_message(reader)

    proxy.reset()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await read_message(reader)
    writer.close()
    await proxy.stop()


@pytest.mark.parametrize(("roll", "arrives"), [(0.9, True), (0.1, False)])
async def test_a_commit_is_lost_before_it_arrives_or_before_it_is_answered(
    server: Server, roll: float, arrives: bool
) -> None:
    proxy = DatabaseProxy(server.port, Rolls(0.0, roll), 1)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nCOMMIT\0")

    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await read_message(reader)
    assert server.asked.qsize() == arrives
    writer.close()
    await proxy.stop()


async def test_a_line_that_the_other_side_closes_is_opened_anew() -> None:
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await read_message(reader)
        writer.write(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        line = Line(listening.sockets[0].getsockname()[1], {})
        for _ in range(3):
            assert await line.ask("GET", "/", timeout_seconds=30) == Answer(200, {"is": "it"}, True)
        line.close()
    assert opened == 3
