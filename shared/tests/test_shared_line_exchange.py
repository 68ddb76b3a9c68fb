"""Lines in, lines out: each answer as soon as it is known, in bounded space, whatever the caller does."""

import asyncio
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi import FastAPI
from shared.line_exchange import (
    MAX_LINE_BYTES,
    CallerGone,
    LinesResponse,
    LineTooLong,
    answered_in_order,
    body_of,
    line_blocks_of,
    lines_of,
)
from starlette.requests import Request
from starlette.types import Message

from shared import line_exchange


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_lines_are_told_apart_wherever_the_body_is_cut() -> None:
    chunks = (b"one\ntw", b"o\r\n\nfo", b"ur\n", b"fi", b"ve")
    assert [line async for line in lines_of(_chunks(*chunks))] == [b"one", b"two", b"", b"four", b"five"]


async def test_what_comes_before_a_line_that_is_too_long_is_handed_out() -> None:
    blocks = line_blocks_of(_chunks(b"one\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\nthree\n"))
    assert await anext(blocks) == [b"one"]
    with pytest.raises(LineTooLong):
        await anext(blocks)


class Work:
    """What lines ask for: each ends when it is told to."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Event] = {}
        self._begun: asyncio.Queue[str] = asyncio.Queue()

    async def begun(self, count: int) -> None:
        """Returns when so many more were begun."""
        for _ in range(count):
            await self._begun.get()

    def begin(self, line: str) -> "asyncio.Task[str]":
        self.ends[line] = asyncio.Event()
        self._begun.put_nowait(line)

        async def work() -> str:
            await self.ends[line].wait()
            return f"{line} done"

        return asyncio.create_task(work())


async def test_a_line_is_answered_before_the_next_one_comes() -> None:
    lines: asyncio.Queue[list[str]] = asyncio.Queue()

    async def blocks() -> AsyncIterator[list[str]]:
        while block := await lines.get():
            yield block

    work = Work()
    answers = answered_in_order(blocks(), work.begin, at_most=10)
    async with asyncio.timeout(10):
        for line in ("one", "two", "three"):
            lines.put_nowait([line])
            answer = asyncio.create_task(anext(answers))
            await work.begun(1)
            work.ends[line].set()
            assert await answer == f"{line} done"
        lines.put_nowait([])
        assert [left async for left in answers] == []


async def test_answers_keep_the_order_of_the_lines_and_few_are_under_way() -> None:
    work = Work()

    async def blocks() -> AsyncIterator[list[str]]:
        yield [str(number) for number in range(5)]

    answers = answered_in_order(blocks(), work.begin, at_most=3)
    first = asyncio.create_task(anext(answers))
    async with asyncio.timeout(10):
        await work.begun(3)
        for line in ("2", "1"):
            work.ends[line].set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert set(work.ends) == {"0", "1", "2"}
        assert not first.done()
        work.ends["0"].set()
        assert await first == "0 done"
        assert await anext(answers) == "1 done"
        work.ends["2"].set()
        assert await anext(answers) == "2 done"
        work.ends["3"].set()
        assert await anext(answers) == "3 done"
        work.ends["4"].set()
        assert [left async for left in answers] == ["4 done"]


async def test_a_caller_that_goes_away_leaves_what_came_whole_to_be_carried_out() -> None:
    work = Work()

    async def blocks() -> AsyncIterator[list[str]]:
        yield ["one", "two"]
        raise CallerGone

    async def collect() -> list[str]:
        return [answer async for answer in answered_in_order(blocks(), work.begin, at_most=10)]

    collecting = asyncio.create_task(collect())
    async with asyncio.timeout(10):
        await work.begun(2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not collecting.done()
        for end in work.ends.values():
            end.set()
        with pytest.raises(CallerGone):
            await collecting


Exchange = Callable[[Request], AsyncGenerator[bytes, None]]


@asynccontextmanager
async def _served(exchange: Exchange) -> AsyncIterator[int]:
    """A server that answers `POST /` by `exchange`; gives its port."""
    app = FastAPI()

    @app.post("/", response_class=LinesResponse)
    async def answer(request: Request) -> LinesResponse:
        return LinesResponse(exchange(request), "application/x-ndjson")

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, http="httptools"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        async with asyncio.timeout(10):
            await serving


_HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _echo(request: Request) -> AsyncGenerator[bytes, None]:
    async for line in lines_of(body_of(request)):
        yield line + b" done\n"


async def test_over_a_network_each_line_is_answered_before_the_next_is_sent() -> None:
    async with asyncio.timeout(20), _served(_echo) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEAD)
        for line in (b"one", b"two"):
            writer.write(_chunk(line + b"\n"))
            await reader.readuntil(line + b" done")
        writer.write(_chunk(b""))
        await _read_all(reader)
        writer.close()


async def test_a_body_that_breaks_off_ends_without_the_line_that_was_cut(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[bytes] = []
    ended = asyncio.Event()

    async def exchange(request: Request) -> AsyncGenerator[bytes, None]:
        try:
            async for line in lines_of(body_of(request)):
                taken.append(line)
                yield line + b"\n"
        finally:
            ended.set()

    async with asyncio.timeout(20), _served(exchange) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEAD + _chunk(b"one\ncut o"))
        await reader.readuntil(b"one\n")
        writer.close()
        await ended.wait()
    assert taken == [b"one"]
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


@pytest.fixture
def small_file(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(line_exchange, "MOST_WAITING_BYTES", 100_000)
    return 100_000


@pytest.mark.usefixtures("small_file")
async def test_a_caller_that_never_reads_is_read_no_further_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_exchange, "PATIENCE_SECONDS", 0.3)
    produced, ended = 0, asyncio.Event()

    async def exchange(_request: Request) -> AsyncGenerator[bytes, None]:
        nonlocal produced
        try:
            while True:
                produced += 10_000
                # Of the same length in the file.
                yield secrets.token_bytes(10_000)
        finally:
            ended.set()

    async with asyncio.timeout(20), _served(exchange) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEAD)
        await ended.wait()
        # The file, and what the kernel holds for the two sockets.
        assert produced < 20_000_000
        writer.close()


@pytest.mark.parametrize("pieces", [1, 500])
async def test_a_caller_that_takes_nothing_of_what_is_left_is_given_up(
    pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = asyncio.Event()
    monkeypatch.setattr(line_exchange, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(line_exchange, "_log", SimpleNamespace(info=lambda *_, **__: given_up.set()))

    async def exchange(_request: Request) -> AsyncGenerator[bytes, None]:
        for _ in range(pieces):
            yield bytes(50_000_000 // pieces)

    async with asyncio.timeout(20), _served(exchange) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEAD)
        await given_up.wait()
        answer = bytearray()
        while piece := await reader.read(1_000_000):
            answer += piece
        # Without the end that a whole answer has.
        assert not answer.endswith(b"0\r\n\r\n")
        writer.close()


async def test_many_small_answers_take_no_more_of_the_file_than_a_few_large_ones() -> None:
    answers = [b'{"line":%d,"status":201,"user_id":"user-%d"}\n' % (n, n % 97) for n in range(100_000)]
    sizes = []
    for pieces in (answers, [b"".join(answers[n : n + 500]) for n in range(0, len(answers), 500)]):
        with tempfile.TemporaryFile() as file:
            exchange = line_exchange._Exchange(file)
            await exchange.fill(_chunks(*pieces))
            sizes.append(file.seek(0, os.SEEK_END))
            assert b"".join([chunk async for chunk in exchange.drain()]) == b"".join(answers)
            assert file.seek(0, os.SEEK_END) == 0
    assert 0 < sizes[0] < 1.1 * sizes[1]


async def test_others_have_their_turn_between_two_pieces_of_what_waited() -> None:
    """Also when sending takes no time, since the caller is gone."""
    turns, sent_at = 0, []

    async def answers() -> AsyncGenerator[bytes, None]:
        for _ in range(200):
            yield secrets.token_bytes(50_000)

    async def send(message: Message) -> None:
        if message.get("more_body"):
            sent_at.append(turns)

    async def receive() -> Message:
        raise AssertionError("nobody reads the request")

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    running = asyncio.create_task(others())
    await LinesResponse(answers(), "application/x-ndjson")({"type": "http"}, receive, send)
    running.cancel()
    assert len(sent_at) == len(set(sent_at)) > 100


@pytest.mark.usefixtures("small_file")
async def test_a_caller_that_reads_late_or_slowly_gets_all_of_it() -> None:
    async def exchange(_request: Request) -> AsyncGenerator[bytes, None]:
        for number in range(2_000):
            yield b"%09dx" % number + secrets.token_bytes(9_990)

    async with asyncio.timeout(60), _served(exchange) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_HEAD + _chunk(b""))
        answer = await _read_all(reader)
        writer.close()
    for number in (0, 1_000, 1_999):
        assert b"%09dx" % number in answer


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while not found.endswith(b"0\r\n\r\n"):
        piece = await reader.read(1_000_000)
        assert piece
        found += piece
    return bytes(found)
