"""An answer's head and body in one write.

uvicorn writes them one after the other, and its event loop sends what it is given at once: two system calls here, two
packets on the way, two wake-ups at the other end. For the short answers of these services that was a thirtieth of all
a commit of points takes.
"""

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = b"HTTP/1.1 "


class WholeAnswers(HttpToolsProtocol):
    """uvicorn's protocol on a transport that joins them."""

    # Narrower than asyncio's, as uvicorn's own is: what is served are streams, never datagrams or pipes.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joining = JoiningTransport(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._joining))

    def eof_received(self) -> None:
        # After this the event loop closes the connection beneath, and nobody is asked once more.
        self._joining.send_head()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._joining.forget_head()
        super().connection_lost(exc)


class JoiningTransport:
    """Keeps a head back until the body is written, but no longer than to the event loop's next turn.

    An answer that is sent as it comes into being so still begins at once, and one without a body is complete.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        # All else that is asked of a connection, straight from the one beneath.
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        elif data[: len(_HEAD)] == _HEAD:
            self._head = bytes(data)
            self._loop.call_soon(self.send_head)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self.send_head()
        self._transport.close()

    def send_head(self) -> None:
        """Sends what is kept back, without waiting for more."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def forget_head(self) -> None:
        """There is nobody left to be sent it."""
        self._head = b""
