"""An answer's head and body leave together, and nothing waits for what may never come."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from shared.whole_answers import JoiningTransport, WholeAnswers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorded(asyncio.Transport):
    """Notes what the protocol writes, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.written.append(b"(closed)")


@pytest.fixture
async def beneath() -> Recorded:
    return Recorded()


@pytest.fixture
async def joining(beneath: Recorded) -> JoiningTransport:
    return JoiningTransport(beneath, asyncio.get_running_loop())


async def test_head_and_body_are_one_write(joining: JoiningTransport, beneath: Recorded) -> None:
    for body in (b"one.", bytearray(b"two."), memoryview(b"four"), b""):
        joining.write(HEAD)
        joining.write(body)
    await asyncio.sleep(0)
    assert beneath.written == [HEAD + b"one.", HEAD + b"two.", HEAD + b"four", HEAD]


async def test_what_is_no_head_is_written_at_once(joining: JoiningTransport, beneath: Recorded) -> None:
    for chunk in (b"one.", bytearray(b"two."), memoryview(b"four")):
        joining.write(chunk)
    assert beneath.written == [b"one.", b"two.", b"four"]


async def test_a_head_without_a_body_is_sent_at_the_next_turn(joining: JoiningTransport, beneath: Recorded) -> None:
    joining.write(HEAD)
    assert beneath.written == []
    await asyncio.sleep(0)
    assert beneath.written == [HEAD]
    joining.write(b"late")
    assert beneath.written == [HEAD, b"late"]


async def test_a_connection_that_is_closed_has_sent_its_head_before(
    joining: JoiningTransport, beneath: Recorded
) -> None:
    joining.write(HEAD)
    joining.close()
    await asyncio.sleep(0)
    assert beneath.written == [HEAD, b"(closed)"]


async def test_a_body_that_looks_like_a_head_keeps_its_place(joining: JoiningTransport, beneath: Recorded) -> None:
    joining.write(HEAD)
    joining.write(b"a")
    joining.write(b"HTTP/1.1 is written here")
    joining.write(b"b")
    joining.write(b"HTTP/1.1 once more")
    await asyncio.sleep(0)
    assert b"".join(beneath.written) == HEAD + b"aHTTP/1.1 is written herebHTTP/1.1 once more"


@contextlib.asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to `app`, served by the protocol."""
    server = uvicorn.Server(uvicorn.Config(app, http=WholeAnswers, ws="none", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            server.should_exit = True
            await serving


async def test_the_head_of_a_stream_does_not_wait_for_its_first_line() -> None:
    is_begun = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        await is_begun.wait()
        yield b"first\n"

    async def stream(_request: Request) -> Response:
        return StreamingResponse(lines())

    async with served(Starlette(routes=[Route("/", stream)])) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        is_begun.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"6\r\nfirst\n\r\n0\r\n\r\n"


async def test_answers_without_a_body_and_to_who_asks_before_sending_are_complete() -> None:
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    async with served(Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])) as (reader, writer):
        writer.write(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        # The last one, and two at once.
        writer.write(b"sent")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(4) == b"sent"
        asked = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n"
        writer.write(asked + b"\r\none" + asked + b"Connection: close\r\n\r\ntwo")
        assert (await reader.readuntil(b"one")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert (await reader.read()).endswith(b"two")


async def test_who_has_said_all_is_still_answered() -> None:
    async def nothing(_request: Request) -> Response:
        return PlainTextResponse("nothing")

    async with served(Starlette(routes=[Route("/", nothing)])) as (reader, writer):
        # The end of what is sent comes with it: the answer's head is made, and the connection closed, in one turn.
        writer.write(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_that_is_lost_is_sent_nothing_more(beneath: Recorded) -> None:
    config = uvicorn.Config(Starlette(), http=WholeAnswers, ws="none", log_config=None)
    config.load()
    protocol = WholeAnswers(config, uvicorn.server.ServerState(), {})
    protocol.connection_made(beneath)
    protocol.transport.write(HEAD)
    protocol.connection_lost(ConnectionResetError())
    await asyncio.sleep(0)
    protocol.transport.close()
    assert beneath.written == [b"(closed)"]
