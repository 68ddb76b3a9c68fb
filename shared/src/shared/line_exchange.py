"""Streams any number of lines in and out in constant memory, for imports that are answered row by row.

The answers go through a file. Many clients send the whole request before they read anything; if the server waited for
them to read, both would wait for ever. So the server always goes on reading, and sends from the file as fast as the
caller takes it.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import BinaryIO, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_MEMORY_BYTES: Final = 1_048_576
_CHUNK_BYTES: Final = 65_536
MAX_LINE_BYTES: Final = 16_384


class LineTooLong(ValueError):
    """A line is longer than `MAX_LINE_BYTES`, so the lines after it cannot be told apart."""


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a body, without their ends; the last one may lack its end.

    Raises:
        LineTooLong: see there.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise LineTooLong
            yield line.removesuffix(b"\r")
        if len(rest) > MAX_LINE_BYTES:
            raise LineTooLong
    if rest:
        yield rest


async def through_a_file(produced: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes. `produced` goes on whether or not the caller takes them."""
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES) as spool:
        exchange = _Exchange(spool)
        producing = asyncio.create_task(exchange.fill(produced))
        try:
            async for chunk in exchange.drain():
                yield chunk
            await producing
        finally:
            producing.cancel()
            with suppress(asyncio.CancelledError):
                await producing


class LinesResponse(Response):
    """Sends `produced` through a file as it comes.

    Starlette's own streaming response listens for a disconnect, and would thereby consume the rest of the request.
    """

    # FastAPI describes a route by the default of `status_code`, and cannot describe one without it.
    def __init__(self, produced: AsyncIterator[bytes], media_type: str, status_code: int = 200) -> None:
        super().__init__(status_code=status_code, media_type=media_type)
        del self.headers["content-length"]
        self._produced = produced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in through_a_file(self._produced):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Exchange:
    """A file that is written at its end and read from where reading stopped."""

    def __init__(self, spool: "tempfile.SpooledTemporaryFile[bytes] | BinaryIO") -> None:
        self._spool = spool
        self._written = 0
        self._read = 0
        self._is_complete = False
        self._news = asyncio.Event()

    async def fill(self, produced: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in produced:
                self._spool.seek(self._written)
                self._written += self._spool.write(chunk)
                self._news.set()
        finally:
            self._is_complete = True
            self._news.set()

    async def drain(self) -> AsyncIterator[bytes]:
        while True:
            self._news.clear()
            while self._read < self._written:
                self._spool.seek(self._read)
                chunk = self._spool.read(_CHUNK_BYTES)
                self._read += len(chunk)
                yield chunk
            if self._is_complete and self._read == self._written:
                return
            await self._news.wait()
