"""HTTP/1.1 to one of the platform's own services: a few connections that stay open, each for one request at a time.

Made for short calls at a high rate. On httptools, which also parses for our servers: httpx takes ten to sixty times the
processor time, aiohttp six times (decision 0079). It follows no redirect, decodes no coding, keeps no cookie and
reads no environment.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote, urlencode, urlsplit

import httptools
import httpx
import orjson

#: Shorter than a server leaves an idle connection open, so that no request meets a connection that just ends.
_IDLE_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 1.0
_CONNECTIONS: Final = 100
#: Far above every answer that there is.
MOST_ANSWER_BYTES: Final = 33_554_432
_FIRST_FINAL_STATUS: Final = 200
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/%._~:@!$&'()*+,;=-]*")
_SAFE_IN_PATHS: Final = "/%:@!$&'()*+,;=~"
_LINE_END: Final = re.compile(r"[\r\n\0]")


class NoAnswer(Exception):
    """There is no connection, or it ended before a whole answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status."""

    status_code: int
    content: bytes

    def json(self) -> Any:
        """Raises ValueError if the content is no JSON."""
        return orjson.loads(self.content)


class HttpConnections:
    """Connections to one service.

    Args:
        base_url: `http://host:port`, or https.
        timeout_seconds: for a whole request; for a new connection at most one second of it.
    """

    def __init__(self, base_url: str, *, timeout_seconds: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None:
            raise ValueError("a service has an http or https address")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls: ssl.SSLContext | None = httpx.create_ssl_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._host_header = parts.netloc.rpartition("@")[2]
        self._timeout_seconds = timeout_seconds
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[tuple[_Connection, float]] = []

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """The answer to one request.

        Args:
            body: JSON.

        Raises:
            TimeoutError: it did not come in time.
            NoAnswer: as it says. Whether the request was carried out is unknown.
        """
        request = self._written(method, path, headers, params, body)
        async with asyncio.timeout(self._timeout_seconds), self._turns:
            connection = self._open_one() or await self._connect()
            try:
                reply = await connection.ask(request)
            except BaseException:
                # Its answer would be taken for that to the next request.
                connection.end()
                raise
            if connection.is_reusable:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.end()
            return reply

    async def aclose(self) -> None:
        """Ends the connections that are idle."""
        while self._idle:
            self._idle.pop()[0].end()

    def _written(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        body: bytes | None,
    ) -> bytes:
        target = path if _PLAIN_PATH.fullmatch(path) else quote(path, safe=_SAFE_IN_PATHS)
        query = f"?{urlencode(params)}" if params else ""
        lines = [f"{method} {self._prefix}{target}{query} HTTP/1.1", f"Host: {self._host_header}"]
        for name, value in headers.items():
            if _LINE_END.search(value):
                raise ValueError(f"the header {name} has more than one line")
            lines.append(f"{name}: {value}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + (body or b"")

    def _open_one(self) -> "_Connection | None":
        """The connection that was used last; the server closes those that lie idle."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.is_reusable and time.monotonic() - since < _IDLE_SECONDS:
                return connection
            connection.end()
        return None

    async def _connect(self) -> "_Connection":
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._tls
                )
        except TimeoutError:
            raise
        except OSError as error:
            raise NoAnswer(repr(error)) from error
        return connection


class HandedTransport:
    """The same over a transport of httpx, such as another service's real app in a test."""

    def __init__(self, transport: httpx.AsyncBaseTransport, base_url: str) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, transport=transport, trust_env=False)

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        kind = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = await self._http.request(method, path, headers={**headers, **kind}, params=params, content=body)
        except httpx.TimeoutException as error:
            raise TimeoutError(repr(error)) from error
        except httpx.RequestError as error:
            raise NoAnswer(repr(error)) from error
        return Reply(answer.status_code, answer.content)

    async def aclose(self) -> None:
        await self._http.aclose()


class _Connection(asyncio.Protocol):
    """One connection. `httptools` calls the methods `on_…`."""

    def __init__(self) -> None:
        #: Whether it may carry another request.
        self.is_reusable = False
        self._answer: asyncio.Future[Reply] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by its class: uvloop's is none of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> "asyncio.Future[Reply]":
        """The future answer; NoAnswer if the connection ends before."""
        self.is_reusable = False
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._length = 0
        if self._transport.is_closing():
            self._fail("closed")
        else:
            self._transport.write(request)
        return self._answer

    def end(self) -> None:
        self.is_reusable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            # Nobody asked: what comes next on this connection would be anybody's answer.
            self.end()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(repr(error))
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_reusable = False
        self._fail(repr(exc) if exc is not None else "closed")

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            raise ValueError("two answers to one request")

    def on_body(self, body: bytes) -> None:
        self._length += len(body)
        if self._length > MOST_ANSWER_BYTES:
            raise ValueError("an endless answer")
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        status: int = self._parser.get_status_code()
        if status < _FIRST_FINAL_STATUS or self._answer is None or self._answer.done():
            return
        self.is_reusable = self._parser.should_keep_alive()
        self._answer.set_result(Reply(status, b"".join(self._chunks)))

    def _fail(self, trouble: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(trouble))
