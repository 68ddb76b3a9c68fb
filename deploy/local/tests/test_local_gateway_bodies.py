"""The gateway, with the real Caddy: how long it waits for a body, and what it makes of one that nobody waits for."""

import asyncio
import contextlib
import http.client
import re

import pytest
from local_platform.gateway import CADDYFILE
from platform_testing.tried_gateway import Gateway
from shared.settings import ServiceSettings


async def test_a_request_without_end_is_cut_off(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.gateway)
    writer.write(b"POST /v1/clients HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000001\r\n\r\n")

    async def send() -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"x" * 16_000_001)
            await writer.drain()

    sending = asyncio.create_task(send())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        await sending
    writer.transport.abort()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/users/slow", b"408"),
        ("/v1/users/refused", b"401"),
        ("/v1/credits/import", b"200"),
        ("/internal/x", b"404"),
        ("/developers/none", b"404"),
    ],
)
@pytest.mark.parametrize(
    "body", ["Content-Length: 9\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"], ids=["length", "chunks"]
)
async def test_a_body_that_stalls_does_not_keep_its_connection(
    gateway: Gateway, path: str, status: bytes, body: str
) -> None:
    """Whether the service gives up, refuses before it reads, or answers as it reads, or the gateway itself refuses.

    Everybody gets the answer. Caddy and net/http race for the bound on what is left of the body (see the Caddyfile), so
    a few connections may stay.
    """
    stalling = [await asyncio.open_connection("127.0.0.1", gateway.ports.gateway) for _ in range(60)]
    for _, writer in stalling:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{body}".encode())
    try:
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(reader.readline() for reader, _ in stalling))
        ends = [asyncio.create_task(_read_to_the_end(reader)) for reader, _ in stalling]
        _, kept = await asyncio.wait(ends, timeout=20)
    finally:
        for _, writer in stalling:
            writer.transport.abort()
    await asyncio.gather(*kept)
    assert {answer.split()[1] for answer in answers} == {status}
    assert len(kept) <= 12


@pytest.mark.parametrize("path", ["/v1/users/refused", "/internal/x", "/developers/none"])
async def test_the_end_of_a_body_is_no_other_request(gateway: Gateway, path: str) -> None:
    """A balancer in front may share the connection: what follows an answered request would be somebody else's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.gateway)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nx".encode())
    async with asyncio.timeout(20):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in answer.lower()
        rest = await _read_to_the_end(reader)
    assert b"HTTP/1.1" not in rest
    writer.transport.abort()


def test_a_connection_is_kept_where_the_body_came(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("localhost", gateway.ports.gateway, timeout=20)
    try:
        for _ in range(2):
            connection.request("POST", "/v1/clients", body=b"{}")
            answer = connection.getresponse()
            assert answer.getheader("connection") is None
            assert answer.getheader("x-body-unfinished") is None
            answer.read()
    finally:
        connection.close()


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


def test_the_services_give_up_before_the_gateway_does() -> None:
    """Otherwise the gateway would drop its bound with the service still waiting, and keep the connection for ever."""
    found = re.search(r"GATEWAY_IDLE_SECONDS:(\d+)", CADDYFILE.read_text())
    assert found is not None
    assert ServiceSettings.model_fields["body_idle_seconds"].default < int(found[1]) - 5


@pytest.mark.parametrize("megabytes", [1, 5, 15])
def test_a_refused_upload_reads_why(gateway: Gateway, megabytes: int) -> None:
    """By a client that reads nothing before it has sent all."""
    connection = http.client.HTTPConnection("localhost", gateway.ports.gateway, timeout=20)
    try:
        connection.request("POST", "/v1/users/refused", body=b"x" * megabytes * 1_000_000)
        assert connection.getresponse().status == 401
    finally:
        connection.close()


async def test_an_import_is_answered_line_by_line_while_it_is_sent(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.gateway)
    writer.write(b"POST /v1/credits/import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    async with asyncio.timeout(10):
        for number in range(3):
            line = f'{{"line": {number}}}\n'.encode()
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            assert await reader.readuntil(line)
        writer.write(b"0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
