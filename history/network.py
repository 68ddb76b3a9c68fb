"""The small proxies between clients, ledgers and PostgreSQL, and the client that speaks through them."""

import asyncio
import json
import random
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb"\r\nx-request-id: *call-(\d+)", re.IGNORECASE)
#: What a broken connection is seen as.
BROKEN = (OSError, EOFError, asyncio.IncompleteReadError)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and body of a request or an answer with `Content-Length`."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head, await reader.readexactly(int(length[1])) if length else b""


def break_off(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with a reset."""
    # Where it has ended already, its socket is gone.
    with suppress(OSError, ValueError):
        found: socket.socket | None = writer.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Writes to a connection.

    Raises:
        ConnectionResetError: it has been broken off.
    """
    if writer.transport.is_closing():
        raise ConnectionResetError
    writer.write(data)


class Answer(NamedTuple):
    status: int
    body: Any
    replayed: bool


class Line:
    """A client's connection, which is opened again when it has broken. One request at a time."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._port = port
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._connection: Connection | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float,
    ) -> Answer | None:
        """The answer; None where none came in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._ask(method, path, body, headers or {})
        except (*BROKEN, TimeoutError):
            self.close()
            return None
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            break_off(self._connection[1])
            self._connection = None

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Answer:
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._connection
        sent = b"" if body is None else json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if body is not None:
            more += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
        request = f"{method} {path} HTTP/1.1\r\nHost: ledger\r\n{self._headers}{more}\r\n".encode() + sent
        send(writer, request)
        head, received = await read_message(reader)
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return Answer(
            int(head.split(b" ", 2)[1]),
            json.loads(received or b"null"),
            b"\r\nidempotency-replayed: true" in head.lower(),
        )


class Proxy:
    """Listens on a port of its own, and leads to another that may change."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        self.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Breaks all connections off."""
        for writer in list(self._open):
            break_off(writer)

    def spawn(self, work: Awaitable[None]) -> None:
        """Runs beside the connections, until the proxy stops."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def connect(self) -> Connection:
        connection = await asyncio.open_connection("127.0.0.1", self.target, limit=2**20)
        self._open.add(connection[1])
        return connection

    def forget(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end; each kind of proxy has its own."""
        raise NotImplementedError

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.spawn(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        except BROKEN:
            pass
        finally:
            self.forget(writer)


class DatabaseProxy(Proxy):
    """Between a ledger and PostgreSQL: passes bytes on, late, or not at all while a fault asks for it.

    Args:
        lost_commits: how likely a connection breaks while a COMMIT is under way: before it arrives, or before it is
            answered.
    """

    def __init__(self, target: int, chance: random.Random | None = None, lost_commits: float = 0.0) -> None:
        super().__init__(target)
        self._chance, self._lost_commits = chance or random.Random(), lost_commits
        self._passes = asyncio.Event()
        self._passes.set()
        #: Added to the way of each piece.
        self.delay_seconds = 0.0

    def swallow(self) -> None:
        """A black hole: connections stay, and nothing comes through, until `pass_on`."""
        self._passes.clear()

    def pass_on(self) -> None:
        """All as it should be; what was held back comes through."""
        self.delay_seconds = 0.0
        self._passes.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        upstream_reader, upstream = await self.connect()
        try:
            broken = asyncio.Event()
            ways = [
                asyncio.create_task(self._pump(reader, upstream, broken, asks=True)),
                asyncio.create_task(self._pump(upstream_reader, writer, broken, asks=False)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self.forget(upstream)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broken: asyncio.Event, *, asks: bool
    ) -> None:
        """One of the two ways of a connection, until it ends.

        Args:
            broken: set when the answer to a COMMIT is to be lost.
        """
        while data := await reader.read(65_536):
            if asks and b"COMMIT\0" in data and self._chance.random() < self._lost_commits:
                if self._chance.random() < 0.5:
                    return
                broken.set()
            elif not asks and broken.is_set():
                return
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            await self._passes.wait()
            send(writer, data)


class Odds(NamedTuple):
    """How likely each trouble is for a request."""

    lost_request: float = 0.015
    lost_answer: float = 0.04
    late: float = 0.02
    doubled: float = 0.04


class ClientProxy(Proxy):
    """Between clients and a ledger: loses, doubles and delays single requests.

    Args:
        copied: called with the number of a call before a copy of its request is sent.
    """

    def __init__(self, target: int, chance: random.Random, odds: Odds, copied: Callable[[int], None]) -> None:
        super().__init__(target)
        self._chance, self._odds, self._copied = chance, odds, copied
        #: The other ledger's proxy: copies go either way.
        self.other: ClientProxy = self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: Connection | None = None
        try:
            while True:
                head, body = await read_message(reader)
                request = head + body
                odds, roll = self._odds, self._chance.random()
                if roll < odds.lost_request:
                    break_off(writer)
                    return
                roll -= odds.lost_request
                if roll < odds.late:
                    await asyncio.sleep(self._chance.uniform(0.05, 2.5))
                roll -= odds.late
                if 0 <= roll < odds.doubled and (number := _NUMBER.search(head)):
                    self._copied(int(number[1]))
                    self.spawn(self._copy(request, self._chance.choice((0.0, 0.0, self._chance.uniform(0.0, 1.5)))))
                roll -= odds.doubled
                if upstream is None:
                    upstream = await self.connect()
                send(upstream[1], request)
                if 0 <= roll < odds.lost_answer:
                    if self._chance.random() < 0.5:
                        await read_message(upstream[0])
                    break_off(writer)
                    return
                head, body = await read_message(upstream[0])
                send(writer, head + body)
        finally:
            if upstream is not None:
                self.forget(upstream[1])

    async def _copy(self, request: bytes, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        proxy = self._chance.choice((self, self.other))
        try:
            reader, writer = await proxy.connect()
        except OSError:
            return
        try:
            send(writer, request)
            await read_message(reader)
        except BROKEN:
            return
        finally:
            proxy.forget(writer)
