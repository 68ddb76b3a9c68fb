"""A wire to PostgreSQL on which trouble comes at the worst moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


def _message(kind: bytes, *fields: bytes) -> bytes:
    body = b"".join(field + b"\0" for field in fields) + b"\0"
    return kind + (len(body) + 4).to_bytes(4, "big") + body


#: What a server process says unasked when another one has crashed.
CRASHED = _message(b"E", b"SFATAL", b"VFATAL", b"C57P02", b"Mterminating connection because of a crash")


class Wire:
    """Passes bytes between a client and the server.

    `cut_at_commit` loses the answer to so many COMMITs, `lose_answer_to` that to a statement with these bytes;
    `say_crashed_after` makes the server say so, without being asked, right behind an answer that contains these bytes.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.cut_at_commit = 0
        self.lose_answer_to = b""
        self.say_crashed_after = b""
        self.cuts = 0
        #: How the end looks from the client: a reset, or an orderly end as when the server's process is killed.
        self.with_reset = True

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        committing = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(65536):
                if self.cut_at_commit and b"COMMIT" in data:
                    self.cut_at_commit -= 1
                    committing.set()
                if self.lose_answer_to and self.lose_answer_to in data:
                    self.lose_answer_to = b""
                    committing.set()
                server_writer.write(data)
                await server_writer.drain()

        async def down() -> None:
            while data := await server_reader.read(65536):
                # An answer that comes now is the server's word that the COMMIT was carried out.
                if committing.is_set():
                    self.cuts += 1
                    return
                if self.say_crashed_after and self.say_crashed_after in data:
                    data += CRASHED
                    self.say_crashed_after = b""
                writer.write(data)
                await writer.drain()

        ways = {asyncio.create_task(up()), asyncio.create_task(down())}
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in left:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, server_writer):
            if self.with_reset:
                end.transport.abort()
            else:
                end.close()


@contextlib.asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[tuple[Wire, str]]:
    """The wire, and the URL by which the database is reached through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    wire = Wire(parts.hostname, parts.port)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, url.replace(f":{parts.port}/", f":{port}/")
    finally:
        server.close()
