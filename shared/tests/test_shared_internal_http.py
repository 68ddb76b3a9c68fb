"""Calls over own connections: each answer reaches the one who asked, and only a good connection is used again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest
import uvloop
from shared.internal_http import HttpConnections, NoAnswer

from shared import internal_http

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Served:
    """A server that counts its connections and requests."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = asyncio.Semaphore(0)
        #: What comes back; of an empty one the server says nothing until the connection ends.
        self.answer: Callable[[bytes], bytes] = lambda request: OK

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((line for line in head.lower().split(b"\r\n") if b"content-length" in line), b":0")
                self.requests.append(head + await reader.readexactly(int(length.partition(b":")[2])))
                writer.write(self.answer(self.requests[-1]))
        writer.close()
        self.ended.release()


@pytest.fixture
async def served() -> AsyncIterator[tuple[Served, HttpConnections]]:
    server = Served()
    listening = await asyncio.start_server(server.carry, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    http = HttpConnections(url, timeout_seconds=5)
    yield server, http
    await http.aclose()
    listening.close()
    for _ in range(server.connections):
        await server.ended.acquire()


Both = tuple[Served, HttpConnections]


async def test_one_connection_carries_request_after_request(served: Both) -> None:
    server, http = served
    server.answer = lambda request: OK.replace(b"{}", request[-2:])
    for body in (b"11", b"22", b"33"):
        reply = await http.send("POST", "/a", {}, body=body)
        assert (reply.status_code, reply.json()) == (200, int(body))
    assert server.connections == 1


async def test_what_is_asked_stands_in_the_request_as_http_has_it(served: Both) -> None:
    server, http = served
    await http.send("POST", "/a/b%2Fc?x y", {"X-Request-Id": "r-1"}, params={"q": "ü&x=1"}, body=b"{}")
    await http.send("GET", "/a", {})
    post, get = server.requests
    assert post.startswith(b"POST /a/b%2Fc%3Fx%20y?q=%C3%BC%26x%3D1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Request-Id: r-1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" in post
    assert b"content-length" not in get.lower()


async def test_a_header_of_two_lines_is_never_sent(served: Both) -> None:
    server, http = served
    for value in ("a\r\nX: b", "a\nX: b", "a\0"):
        with pytest.raises(ValueError, match="more than one line"):
            await http.send("GET", "/a", {"X-Request-Id": value})
    assert server.connections == 0


async def test_requests_at_the_same_time_have_connections_of_their_own(served: Both) -> None:
    server, http = served
    server.answer = lambda request: OK.replace(b"{}", request[-2:])
    bodies = [b"%d" % number for number in range(10, 30)]
    replies = await asyncio.gather(*(http.send("POST", "/a", {}, body=body) for body in bodies))
    assert [reply.content for reply in replies] == bodies
    assert server.connections <= len(bodies)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
        OK,
    ],
    ids=["chunked", "after a hint", "plain"],
)
async def test_an_answer_of_any_form_is_whole_and_leaves_the_connection_good(served: Both, answer: bytes) -> None:
    server, http = served
    server.answer = lambda request: answer
    for _ in range(2):
        reply = await http.send("GET", "/a", {})
        assert (reply.status_code, reply.content) == (200, b"{}")
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"200 OK", b"200 OK\r\nconnection: close"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["closed", "before 1.1"],
)
async def test_a_connection_that_the_server_ends_is_not_used_again(served: Both, answer: bytes) -> None:
    server, http = served
    server.answer = lambda request: answer
    for _ in range(2):
        assert (await http.send("GET", "/a", {})).content == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize("late", [False, True], ids=["with the answer", "after the answer"])
async def test_what_nobody_asked_for_is_nobodys_answer(served: Both, late: bool) -> None:
    server, http = served
    unasked = OK.replace(b"{}", b"99")
    server.answer = lambda request: OK if late else OK + unasked
    first = await http.send("GET", "/a", {})
    if late:
        (connection, _), *_ = http._idle
        connection.data_received(unasked)
    server.answer = lambda request: OK
    second = await http.send("GET", "/a", {})
    assert (first.content, second.content) == (b"{}", b"{}")
    assert server.connections == 2


async def test_the_answer_to_a_request_that_was_given_up_goes_to_nobody(served: Both) -> None:
    server, http = served
    asked = asyncio.Event()

    def nothing_yet(request: bytes) -> bytes:
        asked.set()
        return b""

    server.answer = nothing_yet
    given_up = asyncio.create_task(http.send("GET", "/first", {}))
    await asked.wait()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    server.answer = lambda request: OK
    assert (await http.send("GET", "/second", {})).content == b"{}"
    assert server.connections == 2


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    server = Served()
    server.answer = lambda request: b""
    listening = await asyncio.start_server(server.carry, "127.0.0.1", 0)
    http = HttpConnections(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", timeout_seconds=0.05)
    with pytest.raises(TimeoutError):
        await http.send("GET", "/a", {})
    await server.ended.acquire()
    listening.close()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"\0" * 99],
    ids=["another protocol", "a length of letters", "zeros"],
)
async def test_nonsense_is_no_answer(served: Both, answer: bytes) -> None:
    server, http = served
    server.answer = lambda request: answer
    with pytest.raises(NoAnswer):
        await http.send("GET", "/a", {})


async def test_an_endless_answer_is_cut_off(served: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    server, http = served
    monkeypatch.setattr(internal_http, "MOST_ANSWER_BYTES", 1000)
    server.answer = lambda request: b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001
    with pytest.raises(NoAnswer):
        await http.send("GET", "/a", {})


async def test_a_connection_that_ended_while_it_was_idle_is_replaced(served: Both) -> None:
    server, http = served
    await http.send("GET", "/a", {})
    (connection, _), *_ = http._idle
    connection._transport.abort()
    await server.ended.acquire()
    server.ended.release()
    assert (await http.send("GET", "/a", {})).content == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize("url", ["ftp://somewhere", "points-ledger:8001", "http://"])
async def test_an_address_is_one_of_http(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        HttpConnections(url, timeout_seconds=1)


def test_the_event_loop_of_our_servers_will_do() -> None:
    async def ask() -> bytes:
        server = Served()
        listening = await asyncio.start_server(server.carry, "127.0.0.1", 0)
        http = HttpConnections(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", timeout_seconds=5)
        for _ in range(3):
            answer = (await http.send("POST", "/a", {}, body=b"{}")).content
        await http.aclose()
        await server.ended.acquire()
        listening.close()
        assert server.connections == 1
        return answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == b"{}"
