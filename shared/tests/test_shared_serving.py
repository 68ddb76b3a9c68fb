"""A service as a process: whoever was being answered when it was asked to end is answered, and it ends with 0."""

import asyncio
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


@pytest.fixture
async def served(unused_tcp_port: int, service_keys: ServiceKeys) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The process, and a client once it answers."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SAMPLE), str(unused_tcp_port), service_keys.private("points-ledger"), service_keys.peers),
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
