"""A service as a process: when it is asked to end, it answers all whom it is answering, and ends with 0."""

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from platform_testing.callers import ServiceKeys

SAMPLE = Path(__file__).with_name("served_sample.py")


#: How long it says that it will end, where a test does not say another time.
DRAIN_SECONDS = 0.0


@pytest.fixture
async def served(
    request: pytest.FixtureRequest, unused_tcp_port: int, service_keys: ServiceKeys
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The process, and a client once it answers."""
    drain_seconds, *does = getattr(request, "param", (DRAIN_SECONDS,))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SAMPLE), str(unused_tcp_port), service_keys.private("points-ledger"), service_keys.peers),
        *(str(drain_seconds), *does),
        stdin=PIPE,
        stdout=PIPE,
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}", timeout=30, trust_env=False) as client:
        try:
            assert await until_it_answers(client, process, True)
            yield process, client
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def until_it_answers(client: httpx.AsyncClient, process: Process, wanted: bool) -> bool:
    """Whether a new connection is taken, or none any more, before long."""
    url = client.base_url
    for _ in range(3000):
        try:
            _, writer = await asyncio.open_connection(url.host, url.port)
            writer.close()
            answers = True
        except ConnectionError:
            answers = False
        if answers is wanted or process.returncode is not None:
            return answers is wanted
        await asyncio.sleep(0.01)
    return False


@contextlib.asynccontextmanager
async def connections(
    client: httpx.AsyncClient, count: int
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """So many connections to where the client calls, closed at the end, also where the test fails."""
    async with contextlib.AsyncExitStack() as opened:
        streams = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            opened.callback(writer.close)
            streams.append((reader, writer))
        yield streams


async def output_of(process: Process) -> list[str]:
    assert process.stdout is not None
    return (await process.stdout.read()).decode().splitlines()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_who_is_being_answered_when_it_is_asked_to_end_is_answered(
    served: tuple[Process, httpx.AsyncClient], asked: signal.Signals
) -> None:
    process, client = served
    assert process.stdin is not None
    # Kept open, as a gateway keeps its connections.
    assert (await client.get("/healthz")).status_code == 200
    slow = asyncio.create_task(client.get("/slow", headers={"X-Request-Id": "slow-1"}))
    await until_in_flight(client, 2)
    process.send_signal(asked)
    assert await until_it_answers(client, process, False), "it takes new connections"
    assert process.returncode is None, "it has left a request behind"
    process.stdin.write(b"here you are\n")
    answer = await slow
    assert (answer.status_code, answer.json()) == (200, "here you are")
    lines = await output_of(process)
    assert await process.wait() == 0
    assert [line for line in lines if not line.startswith("{")] == ["closed", "returned"]
    assert any(json.loads(line).get("request_id") == "slow-1" for line in lines if line.startswith("{"))


async def test_a_request_that_never_ends_does_not_keep_it_from_ending(
    served: tuple[Process, httpx.AsyncClient],
) -> None:
    process, client = served
    never = asyncio.create_task(client.get("/never"))
    await until_in_flight(client, 2)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(15):
        lines = await output_of(process)
        assert await process.wait() == 0
    assert [line for line in lines if not line.startswith("{")] == ["closed", "returned"]
    (outcome,) = await asyncio.gather(never, return_exceptions=True)
    assert isinstance(outcome, httpx.TransportError) or (isinstance(outcome, httpx.Response) and outcome.is_error)


@pytest.mark.parametrize("served", [(5.0,)], indirect=True)
async def test_before_it_ends_it_says_so_and_serves_all(served: tuple[Process, httpx.AsyncClient]) -> None:
    process, client = served
    assert (await client.get("/readyz")).status_code == 200
    assert "connection" not in (await client.get("/peer")).headers
    process.send_signal(signal.SIGTERM)
    readiness = [200]
    async with asyncio.timeout(5):
        while readiness[-1] == 200:
            ready = await client.get("/readyz")
            readiness.append(ready.status_code)
    assert (readiness[-1], ready.json()["status"]) == (503, "draining")
    answer = await client.get("/peer")
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert await process.wait() == 0


@pytest.mark.parametrize("served", [(0.0,), (0.0, "1", "finds its timers due")], indirect=True)
async def test_what_is_connected_and_not_yet_read_is_read_and_answered(
    served: tuple[Process, httpx.AsyncClient],
) -> None:
    """Its loop is busy until it is asked to end: twenty callers connect and ask meanwhile."""
    process, client = served
    assert process.stdout is not None
    busy = asyncio.create_task(client.get("/busy"))
    async for line in process.stdout:  # among its lines of the log
        if line == b"busy\n":
            break
    async with connections(client, 20) as callers:
        for _, writer in callers:
            writer.write(b"GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await writer.drain()
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*(reader.read() for reader, _ in callers))
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 20
    assert all(b"connection: close" in answer.lower() for answer in answers)
    assert (await busy).status_code == 200
    assert await process.wait() == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET /peer HTTP/1.1\r\nHost: local",
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
        b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
    ],
    ids=["nothing", "a byte", "half a head", "half a body nobody reads", "half a body", "no such path"],
)
async def test_a_connection_that_stalls_is_closed(served: tuple[Process, httpx.AsyncClient], sent: bytes) -> None:
    """At once many of them, so that none is forgotten; a connection that is kept for its next request stays."""
    _, client = served
    async with connections(client, 31) as ((kept_reader, kept), *stalling):
        kept.write(b"GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await kept_reader.readline()).startswith(b"HTTP/1.1 200")
        for _, writer in stalling:
            writer.write(sent)
        async with asyncio.timeout(20):
            await asyncio.gather(*(reader.read() for reader, _ in stalling))
        kept.write(b"GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(20):
            await kept_reader.readuntil(b"200 OK")


@pytest.mark.parametrize(("body", "is_unfinished"), [(b"x", True), (b"x" * 9, False)])
async def test_an_answer_says_whether_some_of_the_body_is_still_to_come(
    served: tuple[Process, httpx.AsyncClient], body: bytes, is_unfinished: bool
) -> None:
    """For the gateway: what comes after an answer must never be taken for another request."""
    _, client = served
    async with connections(client, 1) as ((reader, writer),):
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n" + body)
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert (b"\r\nx-body-unfinished: 1\r\n" in head) is is_unfinished


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        (b"Content-Length: 11\r\n\r\none\ntwo\nend", ["one", "two", "end", "whole"]),
        (b"Content-Length: 12\r\n\r\none\ntwo\nend", ["one", "two", "in part"]),
        (b"Transfer-Encoding: chunked\r\n\r\nb\r\none\ntwo\nend\r\n0\r\n\r\n", ["one", "two", "end", "whole"]),
        (b"Transfer-Encoding: chunked\r\n\r\nb\r\none\ntwo\nend\r\n0\r\n", ["one", "two", "in part"]),
        (b"Content-Length: 12\r\n\r\n", ["in part"]),
    ],
    ids=["all of its length", "less than its length", "all chunks", "no last chunk", "nothing"],
)
async def test_lines_that_came_before_the_caller_went_are_read(
    served: tuple[Process, httpx.AsyncClient], sent: bytes, came: list[str]
) -> None:
    """The caller ends its side, and the server its own, before the first one is read."""
    process, client = served
    assert process.stdin is not None
    async with connections(client, 1) as ((reader, writer),):
        writer.write(b"POST /lines HTTP/1.1\r\nHost: localhost\r\n" + sent)
        writer.write_eof()
        await reader.read()
    process.stdin.write(b"read them\n")
    await until_in_flight(client, 1)
    process.send_signal(signal.SIGTERM)
    lines = await output_of(process)
    assert [line.removeprefix("came ") for line in lines if line.startswith("came ")] == came


@pytest.mark.parametrize("path", ["/hot", "/body", "/stream"])
async def test_a_caller_that_goes_before_its_answer_began_is_no_error(
    served: tuple[Process, httpx.AsyncClient], path: str
) -> None:
    process, client = served
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n["
    async with connections(client, 1) as ((reader, writer),):
        writer.write(head.encode())
        writer.write_eof()
        assert await reader.read() == b""
    await until_in_flight(client, 1)
    process.send_signal(signal.SIGTERM)
    logged = [json.loads(line) for line in await output_of(process) if line.startswith("{")]
    assert [(line["event"], line.get("status")) for line in logged if line.get("route") == path] == [("request", 499)]


@pytest.mark.parametrize("path", ["/hot", "/body", "/stream"])
async def test_a_body_that_does_not_come_in_time_is_refused_with_408(
    served: tuple[Process, httpx.AsyncClient], path: str
) -> None:
    _, client = served
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"
    async with connections(client, 1) as ((reader, writer),):
        writer.write(head.encode())
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_the_server_believes_no_header_about_the_peer(served: tuple[Process, httpx.AsyncClient]) -> None:
    _, client = served
    answer = await client.get("/peer", headers={"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"})
    assert answer.json() == "127.0.0.1"
    assert "server" not in answer.headers


async def until_in_flight(client: httpx.AsyncClient, requests: int) -> None:
    """Until so many requests are being answered, this very question among them."""
    line = f"http_requests_in_flight {float(requests)}"
    for _ in range(3000):
        if line in (await client.get("/metrics")).text.splitlines():
            return
    raise TimeoutError
