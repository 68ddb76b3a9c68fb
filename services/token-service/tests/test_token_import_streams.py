"""Imports as streams: in order, in constant memory, and nothing that came is lost."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator, MutableMapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from token_service.imports.importing import Row, import_rows
from token_service.imports.writing import Outcome
from token_service.tokens.terms import Order, Terms

from .campaign_house import House
from .test_token_imports import DEFAULTS, PATH, import_csv


class Streaming:
    """Speaks ASGI itself: sends a list in parts and looks at the answer without keeping either."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""
        self.status = 0
        self.rows = -1
        self.out_of_order = 0

    async def receive(self) -> dict[str, Any]:
        part = next(self._parts, None)
        # As over a network, other work gets its turn between two parts.
        await asyncio.sleep(0)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)
        *lines, self._rest = (self._rest + message.get("body", b"")).split(b"\n")
        for line in lines:
            if self.rows >= 0 and not line.startswith(b"c%d," % self.rows):
                self.out_of_order += 1
            self.rows += 1


def _scope(house: House, content_type: bytes = b"text/csv") -> dict[str, Any]:
    authorization = house.headers["Authorization"].encode()
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": urlencode(DEFAULTS).encode(),
        "headers": [(b"content-type", content_type), (b"authorization", authorization)],
    }


async def test_a_long_list_is_answered_in_order_and_in_constant_memory(house: House) -> None:
    """10,000 wide rows: 8 MB in and 9 MB out, of which only a part may ever be held."""
    rows, held = 10_000, 7_000_000
    padding = b"x" * 800

    def parts() -> Iterator[bytes]:
        yield b"customer_id,padding\n"
        for start in range(0, rows, 80):
            yield b"".join(b"c%d,%b\n" % (number, padding) for number in range(start, start + 80))

    # What a process makes once, such as the texts of statements, is no part of a list.
    await import_csv(house, "customer_id\nfirst\n")
    streaming = Streaming(parts())
    tracemalloc.start()
    try:
        await house.app(_scope(house), streaming.receive, streaming.send)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (streaming.status, streaming.rows, streaming.out_of_order) == (200, rows, 0)
    assert peak < held


async def test_rows_are_written_while_more_are_coming(house: House) -> None:
    """A list is not gathered before it is worked on: the first rows have landed while the last is not yet sent."""
    landed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"customer_id\nfirst\n"
        await landed.wait()
        yield b"last\n"

    async def see_the_first() -> None:
        async with asyncio.timeout(10):
            while not await house.fetch("SELECT 1 FROM token_service.tokens WHERE tenant = :t", t=house.tenant):
                pass
        landed.set()

    headers = house.headers | {"Content-Type": "text/csv"}
    sending = house.client.post(PATH, params=DEFAULTS, content=chunks(), headers=headers)
    answer, _ = await asyncio.gather(sending, see_the_first())
    assert len(answer.text.splitlines()) == 3


async def test_a_caller_that_waits_for_an_answer_before_it_sends_more_gets_it(house: House) -> None:
    """Row by row: neither side waits for the other for ever."""
    answered = asyncio.Event()
    streaming = Streaming(iter(()))
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        if sent == 1:
            return {"type": "http.request", "body": b"customer_id\nc0\n", "more_body": True}
        if sent <= 5:
            await answered.wait()
            answered.clear()
            return {"type": "http.request", "body": b"c%d\n" % (sent - 1), "more_body": sent < 5}
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        before = streaming.rows
        await streaming.send(message)
        if streaming.rows > max(before, 0):
            answered.set()

    async with asyncio.timeout(20):
        await house.app(_scope(house), receive, send)
    assert (streaming.status, streaming.rows, streaming.out_of_order) == (200, 5, 0)


@pytest.mark.parametrize(
    ("content_type", "head", "row"),
    [(b"text/csv", b"customer_id\n", b"c%d\n"), (b"application/x-ndjson", b"", b'{"customer_id": "c%d"}\n')],
)
async def test_rows_that_came_whole_before_the_caller_hung_up_have_landed(
    house: House, content_type: bytes, head: bytes, row: bytes
) -> None:
    """They come faster than they are written, and the last one is cut off."""
    whole = 30
    parts = iter([head, *(row % number for number in range(whole)), (row % whole)[:-3]])

    async def receive() -> dict[str, Any]:
        part = next(parts, None)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": True}

    await house.app(_scope(house, content_type), receive, Streaming(iter(())).send)
    landed = await house.fetch("SELECT customer_id FROM token_service.tokens WHERE tenant = :t", t=house.tenant)
    assert sorted(one.customer_id for one in landed) == sorted(f"c{number}" for number in range(whole))


class Recording:
    """A writer that takes its time, and notes which references it writes at the same time."""

    def __init__(self) -> None:
        self._under_way: list[str | None] = []
        self.together: set[tuple[str | None, ...]] = set()

    async def write(self, orders: Sequence[Order]) -> list[Outcome]:
        self._under_way += (order.reference for order in orders)
        self.together.add(tuple(self._under_way))
        # Both that may be written at the same time have begun by then.
        for _ in range(100):
            await asyncio.sleep(0)
        for order in orders:
            self._under_way.remove(order.reference)
        return [("", None)] * len(orders)


@pytest.mark.parametrize(
    ("references", "together"),
    [(["a", "a"], {("a",)}), ([None, None], {(None,), (None, None)}), (["a", "b"], {("a",), ("a", "b")})],
    ids=["the same", "none", "others"],
)
async def test_rows_of_one_reference_are_written_in_their_order(
    references: list[str | None], together: set[tuple[str | None, ...]]
) -> None:
    """If a later row won, the earlier one would be told that its reference was used before."""
    terms = Terms("c", "spring", "https://campaign.example")

    async def blocks() -> AsyncIterator[list[Row[int]]]:
        for line, reference in enumerate(references):
            yield [(line, Order(terms, timedelta(hours=1), reference), line)]

    writer = Recording()
    async for _ in import_rows(writer, blocks(), lambda _rows: b""):
        pass
    assert writer.together == together
