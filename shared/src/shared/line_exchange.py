"""Streams any number of lines in and out in constant memory, for imports that are answered row by row.

Many clients send the whole request before they read anything; if the server waited for them to read, both would wait
for ever. So the server goes on reading, and keeps what the caller has not taken: a little in memory, all else in a
file, compressed, since in a container the file may lie in memory too. The file is bounded: when it is full, the server
reads no more until the caller has taken what is there, and after `PATIENCE_SECONDS` without that it gives up.

A caller that goes away ends its import, and is no error. The lines that came whole are carried out; one that was cut
off is not, since nobody can tell what it was to become.
"""

import asyncio
import tempfile
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import IO, Any, Final, TypeVar

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

#: Of the file, for a caller that does not read: the answers to a million lines fit.
MOST_WAITING_BYTES: Final = 134_217_728
#: How long a caller may leave a full file untouched.
PATIENCE_SECONDS: Final = 60.0
_TAKES_NOTHING: Final = "takes none of its answers"
_MEMORY_BYTES: Final = 1_048_576
#: Of what is packed together.
_PIECE_BYTES: Final = 65_536
MAX_LINE_BYTES: Final = 16_384

L = TypeVar("L")
T = TypeVar("T")
_log = structlog.get_logger("imports")


class CallerGone(ClientDisconnect):
    """The caller hung up, or takes none of its answers."""


class LineTooLong(ValueError):
    """A line is longer than `MAX_LINE_BYTES`, so the lines after it cannot be told apart."""


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a body, without their ends; the last one may lack its end.

    Raises:
        LineTooLong: see there.
    """
    async for lines in line_blocks_of(chunks):
        for line in lines:
            yield line


async def line_blocks_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The same, as many together as came together.

    Raises:
        LineTooLong: see there.
    """
    rest = b""
    async for chunk in chunks:
        *ended, rest = (rest + chunk).split(b"\n")
        lines = [line.removesuffix(b"\r") for line in ended]
        too_long = next((place for place, line in enumerate(ended) if len(line) > MAX_LINE_BYTES), None)
        if lines[:too_long]:
            yield lines[:too_long]
        if too_long is not None or len(rest) > MAX_LINE_BYTES:
            raise LineTooLong
    if rest:
        yield [rest]


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        CallerGone: it broke off.
    """
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise CallerGone("hung up") from None


async def answered_in_order(
    blocks: AsyncIterator[Iterable[L]], begin: Callable[[L], "asyncio.Task[T]"], *, at_most: int
) -> AsyncGenerator[T, None]:
    """What becomes of each line, in the order of the lines, each as soon as it is known and those before it are.

    Args:
        blocks: the lines, as many together as come together.
        begin: begins what a line asks for.
        at_most: lines that are under way at the same time.

    Raises:
        CallerGone, or whatever else `blocks` raises, after the lines that were begun have ended.
    """
    under_way: deque[asyncio.Task[T]] = deque()
    coming = asyncio.create_task(_next(blocks))
    try:
        while True:
            # A caller that waits for an answer before it sends more gets it.
            awaited: list[asyncio.Task[Any]] = [coming, under_way[0]] if under_way else [coming]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            while under_way and under_way[0].done():
                yield under_way.popleft().result()
            if not coming.done():
                continue
            block = coming.result()
            if block is None:
                break
            for line in block:
                while len(under_way) >= at_most:
                    yield await under_way.popleft()
                under_way.append(begin(line))
            coming = asyncio.create_task(_next(blocks))
        while under_way:
            yield await under_way.popleft()
    finally:
        coming.cancel()
        await asyncio.gather(coming, *under_way, return_exceptions=True)


async def _next(blocks: AsyncIterator[Iterable[L]]) -> Iterable[L] | None:
    return await anext(blocks, None)


class LinesResponse(Response):
    """Sends `produced` as it comes, and through a file where the caller does not read.

    Starlette's own streaming response listens for a disconnect, and would thereby consume the rest of the request.
    """

    # FastAPI describes a route by the default of `status_code`, and cannot describe one without it.
    def __init__(self, produced: AsyncGenerator[bytes, None], media_type: str, status_code: int = 200) -> None:
        super().__init__(status_code=status_code, media_type=media_type)
        del self.headers["content-length"]
        self._produced = produced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await self._send_all(send)
        except CallerGone as gone:
            # The server closes the connection: an answer without its end cannot pass for a whole one.
            _log.info("an import ended without its caller", why=str(gone))

    async def _send_all(self, send: Send) -> None:
        # It is opened when something is written.
        with tempfile.SpooledTemporaryFile(max_size=1) as file:
            exchange = _Exchange(file)

            async def send_what_is_there() -> None:
                async for chunk in exchange.drain():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})

            sending = asyncio.create_task(send_what_is_there())
            try:
                await exchange.fill(self._produced)
                await exchange.until_all_is_taken(sending)
            finally:
                # Also one that waits for a caller which takes nothing.
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
                await self._produced.aclose()
        try:
            # It waits until the caller has taken nearly all.
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            raise CallerGone(_TAKES_NOTHING) from None


def pack(chunk: bytes | bytearray) -> bytes:
    """As it stands in the file: a twentieth of the answers to credits, for half a microsecond each."""
    return zlib.compress(chunk, 1)


class _Exchange:
    """What waits for the caller: the oldest in memory, then pieces in a file, then what becomes the next piece.

    The file is emptied when all of it was read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._in_memory: deque[bytes] = deque()
        self._memory_bytes = 0
        self._file = file
        #: Place and length of each piece in the file.
        self._in_file: deque[tuple[int, int]] = deque()
        self._file_bytes = 0
        self._next_piece = bytearray()
        self._is_complete = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def fill(self, produced: AsyncIterator[bytes]) -> None:
        """Keeps all of it.

        Raises:
            CallerGone: nobody has read for too long.
        """
        try:
            async for chunk in produced:
                if self._file_bytes >= MOST_WAITING_BYTES:
                    await self._wait_for_room()
                self._keep(chunk)
                self._news.set()
        finally:
            self._is_complete = True
            self._news.set()

    async def drain(self) -> AsyncIterator[bytes]:
        while True:
            self._news.clear()
            while chunk := self._take():
                self._room.set()
                yield chunk
                # If the caller is gone, sending takes no time, and others would wait until the file was read.
                await asyncio.sleep(0)
            if self._is_complete:
                return
            await self._news.wait()

    async def until_all_is_taken(self, sending: "asyncio.Task[None]") -> None:
        """Waits for `sending`, which takes from here.

        Raises:
            CallerGone: nobody has read for too long.
        """
        while not sending.done():
            self._room.clear()
            taken = asyncio.create_task(self._room.wait())
            ended, _ = await asyncio.wait(
                {sending, taken}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            taken.cancel()
            if not ended:
                raise CallerGone(_TAKES_NOTHING)
        await sending

    def _keep(self, chunk: bytes) -> None:
        if self._memory_bytes < _MEMORY_BYTES and not (self._in_file or self._next_piece):
            self._in_memory.append(chunk)
            self._memory_bytes += len(chunk)
            return
        self._next_piece += chunk
        if len(self._next_piece) >= _PIECE_BYTES:
            piece = pack(self._next_piece)
            self._next_piece.clear()
            self._file.seek(self._file_bytes)
            self._file.write(piece)
            self._in_file.append((self._file_bytes, len(piece)))
            self._file_bytes += len(piece)

    def _take(self) -> bytes:
        """The oldest that waits; nothing if nothing does."""
        if self._in_memory:
            chunk = self._in_memory.popleft()
            self._memory_bytes -= len(chunk)
            return chunk
        if not self._in_file:
            chunk = bytes(self._next_piece)
            self._next_piece.clear()
            return chunk
        place, length = self._in_file.popleft()
        self._file.seek(place)
        chunk = zlib.decompress(self._file.read(length))
        if not self._in_file:
            # What is written from here on begins anew, so that the file is no longer than what waits in it.
            self._file.seek(0)
            self._file.truncate()
            self._file_bytes = 0
        return chunk

    async def _wait_for_room(self) -> None:
        """Until all that waits was taken; every piece that is taken begins the caller's time anew."""
        while self._file_bytes >= MOST_WAITING_BYTES:
            self._room.clear()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                raise CallerGone(_TAKES_NOTHING) from None
