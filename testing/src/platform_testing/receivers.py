"""Receivers of webhooks on the real network, good ones and bad ones."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Delivery:
    """A request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


async def takes(writer: asyncio.StreamWriter) -> None:
    """A good receiver."""
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def answers(status: int, *headers: str) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} So", *headers, "Content-Length: 0"))
        writer.write(f"{head}\r\n".encode())

    return behave


async def is_silent(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drips(writer: asyncio.StreamWriter) -> None:
    """Each byte comes in time, the answer never does."""
    await _for_ever(writer, b"HTTP/1.1 200 OK\r\nX: ", b"x", pause=0.01)


async def hints_for_ever(writer: asyncio.StreamWriter) -> None:
    await _for_ever(writer, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.01)


async def has_headers_without_end(writer: asyncio.StreamWriter) -> None:
    await _for_ever(writer, b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 4000 + b"\r\n")


async def answers_for_ever(writer: asyncio.StreamWriter) -> None:
    await _for_ever(writer, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536)


async def answers_slowly_for_ever(writer: asyncio.StreamWriter) -> None:
    await _for_ever(writer, b"HTTP/1.1 200 OK\r\n\r\n", b"x", pause=0.01)


async def speaks_no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")


async def hangs_up(_: asyncio.StreamWriter) -> None:
    """Closes without a word."""


async def resets(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def _for_ever(writer: asyncio.StreamWriter, first: bytes, then: bytes, *, pause: float = 0) -> None:
    writer.write(first)
    while True:
        writer.write(then)
        await writer.drain()
        await asyncio.sleep(pause)


@dataclass
class Receiver:
    """Listens at `url`. Every request is kept, then `behave` answers it."""

    behave: Behaviour = takes
    deliveries: list[Delivery] = field(default_factory=list)
    url: str = ""
    #: Set with each delivery.
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def event_ids(self) -> list[str]:
        return [delivery.headers["webhook-id"] for delivery in self.deliveries]

    #: Requests that it answers on one connection. The next one finds the connection closed, without an answer.
    of_one_connection: int = 1
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for _ in range(self.of_one_connection):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers["content-length"]))
                self.deliveries.append(Delivery(headers, body))
                self.arrived.set()
                await self.behave(writer)
            if self.of_one_connection > 1:
                # A caller that sends at this instant cannot know better.
                await reader.readexactly(1)
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def receiving(behave: Behaviour = takes, *, of_one_connection: int = 1) -> AsyncIterator[Receiver]:
    """A receiver on a free port, for as long as the block runs."""
    receiver = Receiver(behave, of_one_connection=of_one_connection)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with suppress(asyncio.CancelledError):
            try:
                await receiver.serve(reader, writer)
            finally:
                writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
