"""An import whose caller ends its side of the connection: what came whole is booked, nothing of what was cut off."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.processes import ServiceProcess, network_client

from .parties import Platform
from .test_ledger_imports import NDJSON, line, ndjson, send

LINES = 3000


@pytest.fixture(scope="module")
def register(network_register: FakeRegister) -> FakeRegister:
    return network_register


@pytest.fixture
async def client(ledgers: list[ServiceProcess]) -> AsyncIterator[httpx.AsyncClient]:
    await ledgers[0].keep_up()
    async with network_client(ledgers[0].url) as client:
        yield client


@pytest.mark.parametrize("missing", [0, 1], ids=["all", "all but a byte"])
async def test_lines_that_came_whole_are_booked(
    ledgers: list[ServiceProcess], platform: Platform, missing: int
) -> None:
    user = await platform.user_with(0)
    body = ndjson(*(line(user, 1, f"r-{number}") for number in range(LINES)))
    address = urlsplit(ledgers[0].url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = [
        "POST /v1/credits/import HTTP/1.1",
        "Host: here",
        f"Content-Type: {NDJSON}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in platform.headers.items()),
    ]
    try:
        writer.write("\r\n".join([*head, "", ""]).encode() + body[: len(body) - missing])
        writer.write_eof()
        await reader.read()
    finally:
        writer.close()
    booked = LINES - missing
    async with asyncio.timeout(30):
        while (await platform.balance(user))[0] < booked:
            pass
    # The same list again finds them, and books what was cut off.
    *_, last = await send(platform, body)
    assert last == {"summary": {"lines": LINES, "credited": missing, "repeated": booked, "refused": 0}}
