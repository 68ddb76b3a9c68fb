"""An answer's head and body leave together, and nothing waits for what may never come."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from shared.serving import DrainingServer
from shared.settings import ServiceSettings
from shared.whole_answers import JoiningTransport, WholeAnswers, send_whole
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorded(asyncio.Transport):
    """Notes what the protocol writes, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        #: What the other side has not taken.
        self.left = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.written.append(b"(closed)")

    def is_closing(self) -> bool:
        return b"(closed)" in self.written

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.written.append(b"(cut off)")

    def resume_reading(self) -> None:
        """Nothing was paused."""

    def pause_reading(self) -> None:
        """Nothing comes that was not asked for."""


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
async def served(app: ASGIApp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
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


async def test_a_caller_that_sends_and_takes_nothing_is_cut_off_when_its_answer_breaks_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would wait for ever: the server reads nothing more, and has more to send than the network holds."""
    monkeypatch.setattr("shared.whole_answers.LINGER_SECONDS", 0.1)

    async def breaks_off(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(50_000_000), "more_body": True})

    async def send_on(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    async with asyncio.timeout(20), served(breaks_off) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            await send_on(writer)


async def test_a_caller_is_cut_off_when_it_takes_nothing_of_what_is_left_and_not_while_it_takes_some(
    beneath: Recorded,
) -> None:
    timers: list[Callable[[], object]] = []
    loop: Any = SimpleNamespace(call_later=lambda _seconds, look, left: timers.append(lambda: look(left)))
    joining = JoiningTransport(beneath, loop)
    beneath.left = 1000
    joining.close()
    for beneath.left in (900, 1, 1):
        assert beneath.written == [b"(closed)"]
        timers.pop()()
    assert beneath.written == [b"(closed)", b"(cut off)"]
    assert not timers


async def test_a_connection_that_has_sent_all_needs_no_look(beneath: Recorded) -> None:
    timers: list[object] = []
    loop: Any = SimpleNamespace(call_later=lambda *_: timers.append(None))
    JoiningTransport(beneath, loop).close()
    assert not timers


async def test_who_has_said_all_is_still_answered() -> None:
    async def nothing(_request: Request) -> Response:
        return PlainTextResponse("nothing")

    async with served(Starlette(routes=[Route("/", nothing)])) as (reader, writer):
        # The end of what is sent comes with it: the answer's head is made, and the connection closed, in one turn.
        writer.write(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
        writer.write_eof()
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_that_is_lost_is_sent_nothing_more(beneath: Recorded) -> None:
    protocol = protocol_of(Starlette())
    protocol.connection_made(beneath)
    protocol.transport.write(HEAD)
    protocol.connection_lost(ConnectionResetError())
    await asyncio.sleep(0)
    protocol.transport.close()
    assert beneath.written == [b"(closed)"]


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "then", "is_stream", "received"),
    [
        (b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n", True, [(b"one", True), (b"two", False), None]),
        (b"3\r\none\r\n", b"3\r\ntwo\r\n", True, [(b"one", True), (b"two", True), None]),
        (b"3\r\none\r\n", b"0\r\n\r\n", True, [(b"one", True), (b"", False), None]),
        (b"3\r\none\r\n", b"0\r\n", True, [(b"one", True), None]),
        (b"3\r\none\r\n0\r\n\r\n", b"", True, [(b"one", False), None]),
        (b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n", False, [(b"one", True), None]),
    ],
    ids=["its rest", "more of it", "its end alone", "nothing", "nothing after its end", "its rest, of no stream"],
)
@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_what_came_before_the_end_of_a_connection_is_read_before_it(
    beneath: Recorded,
    first: bytes,
    then: bytes,
    is_stream: bool,
    received: list[tuple[bytes, bool] | None],
    is_waited_for: bool,
) -> None:
    """It comes at once with the end, and finds the application waiting for more, or not yet. None is the end."""
    read: list[tuple[bytes, bool] | None] = []
    has_read, goes_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, _send: Send) -> None:
        scope["state"]["is_stream"] = is_stream
        while None not in read:
            message = await receive()
            read.append((message["body"], message["more_body"]) if message["type"] == "http.request" else None)
            has_read.set()
            await goes_on.wait()

    protocol = protocol_of(app)
    protocol.connection_made(beneath)
    protocol.data_received(CHUNKED + first)
    if is_waited_for:
        goes_on.set()
    await has_read.wait()
    protocol.data_received(then)
    protocol.eof_received()
    protocol.connection_lost(None)
    goes_on.set()
    await asyncio.gather(*protocol.tasks)
    assert read == received


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that it gets, and with the query as a header."""
    message = await receive()
    body = message["body"]
    headers = [(b"content-length", b"%d" % len(body)), (b"x-asked", scope["query_string"])]
    await send_whole(scope, send, 200, headers, body)


async def test_a_whole_answer_says_what_the_two_messages_say(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    requests = (
        b"POST /?a HTTP/1.1\r\nContent-Length: 3\r\n\r\none",
        b"HEAD /?b HTTP/1.1\r\n\r\n",
        b"POST /?c HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntwo",
    )
    asked = (b"".join(requests), b"GET /?d HTTP/1.0\r\n\r\n")
    for extensions in ({"http.response.whole": {}}, {}):
        monkeypatch.setattr("shared.whole_answers._EXTENSIONS", extensions)
        for each in asked:
            async with served(whole) as (reader, writer):
                writer.write(each)
                said.append(re.sub(rb"date: [^\r]*\r\n", b"", await reader.read()))
    assert said[:2] == said[2:]
    assert said[0].count(b"HTTP/1.1 200 OK\r\n") == len(requests)
    assert said[0].endswith(b"x-asked: c\r\nconnection: close\r\n\r\ntwo")


async def test_a_whole_answer_is_one_write(beneath: Recorded) -> None:
    protocol = protocol_of(whole)
    protocol.connection_made(beneath)
    protocol.data_received(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\none")
    await asyncio.gather(*protocol.tasks)
    (written,) = beneath.written
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\none")


@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: b", b"a\nb", b"a\rb", b"a\0b", b"a\x7fb"])
@pytest.mark.parametrize("extensions", [{"http.response.whole": {}}, {}])
async def test_a_header_with_a_control_character_is_never_sent(
    value: bytes, extensions: dict[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send_whole(scope, send, 200, [(b"content-length", b"0"), (b"x-tab", b"a\tb"), (b"x-asked", value)], b"")

    monkeypatch.setattr("shared.whole_answers._EXTENSIONS", extensions)
    async with served(app) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
    assert value not in answer
    # uvicorn has begun its own by then, and says no more.
    assert answer.startswith(b"HTTP/1.1 500 ") if extensions else not answer


async def test_an_answer_is_not_begun_twice(beneath: Recorded) -> None:
    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        await whole(scope, receive, send)
        with pytest.raises(RuntimeError):
            await send_whole(scope, send, 200, [], b"")

    protocol = protocol_of(twice)
    protocol.connection_made(beneath)
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    assert len(beneath.written) == 1


async def test_a_server_without_the_extension_gets_two_messages() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await send_whole({"type": "http"}, send, 200, [(b"content-length", b"3")], b"one")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_connection_is_idle_between_an_answer_and_the_next_byte(beneath: Recorded) -> None:
    protocol = protocol_of(whole)
    protocol.connection_made(beneath)
    assert not protocol.is_idle
    for _ in range(2):
        protocol.data_received(b"GET / HT")
        assert not protocol.is_idle
        protocol.data_received(b"TP/1.1\r\n\r\n")
        assert not protocol.is_idle
        await asyncio.gather(*protocol.tasks)
        assert protocol.is_idle


async def test_an_idle_connection_is_closed_after_half_a_minute(
    beneath: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServiceSettings.model_construct(drain_seconds=1, head_seconds=10, body_seconds=20)
    server = DrainingServer(config_of(whole), FastAPI(), settings)
    protocol = protocol_of(whole)
    server.server_state.connections.add(protocol)
    protocol.connection_made(beneath)
    # Idle from its first answer on, at 1 s, and once more from the second on, at 25 s.
    for now, asks, is_open in ((1, True, True), (25, True, True), (54, False, True), (56, False, False)):
        if asks:
            protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.gather(*protocol.tasks)
        monkeypatch.setattr("shared.serving.time", SimpleNamespace(monotonic=lambda now=now: now))
        server._close_stalled_connections()
        assert beneath.is_closing() is not is_open
    # Nobody waits for an answer, and so none says that it took too long.
    assert [written[:12] for written in beneath.written] == [b"HTTP/1.1 200"] * 2 + [b"(closed)"]


@pytest.mark.parametrize("head_seconds", [10, 30])
async def test_a_request_that_begins_late_on_an_idle_connection_has_all_of_its_time(
    head_seconds: int, beneath: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServiceSettings.model_construct(drain_seconds=1, head_seconds=head_seconds, body_seconds=20)
    server = DrainingServer(config_of(whole), FastAPI(), settings)
    protocol = protocol_of(whole)
    server.server_state.connections.add(protocol)
    protocol.connection_made(beneath)
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    # Idle from 0 s on, until half a head comes at 29 s.
    for now, comes, is_open in (
        (0, b"", True),
        (29, b"GET / HT", True),
        (28 + head_seconds, b"", True),
        (30 + head_seconds, b"", False),
    ):
        if comes:
            protocol.data_received(comes)
        monkeypatch.setattr("shared.serving.time", SimpleNamespace(monotonic=lambda now=now: now))
        server._close_stalled_connections()
        assert beneath.is_closing() is not is_open


def config_of(app: ASGIApp) -> uvicorn.Config:
    config = uvicorn.Config(app, http=WholeAnswers, ws="none", log_config=None, lifespan="off")
    config.load()
    return config


def protocol_of(app: ASGIApp) -> WholeAnswers:
    return WholeAnswers(config_of(app), uvicorn.server.ServerState(), {})
