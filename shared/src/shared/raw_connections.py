"""asyncpg's own connections, for the lines of group commit: each is lent to one transaction at a time.

asyncpg has a pool of its own. Lending a connection by it took this process twice as long as BEGIN and COMMIT together,
since it watches over what is done with each, and resets it; what is lent here is either clean when it comes back, or
has been ended by its borrower.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg


class RawConnections:
    """Opened when they are needed, and kept.

    Args:
        settings: what `asyncpg.connect` is told.
        at_most: so many are lent at the same time.
        wait_seconds: how long a borrower waits for its turn.
    """

    def __init__(self, url: str, settings: dict[str, Any], *, at_most: int, wait_seconds: float) -> None:
        self._url = url
        self._settings = settings
        self._turns = asyncio.Semaphore(at_most)
        self._wait_seconds = wait_seconds
        self._kept: list[asyncpg.Connection] = []
        self._has_ended = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[asyncpg.Connection]:
        """One that no one else has. Whoever does not leave it clean must end it.

        Raises:
            TimeoutError: none got free in time; or whatever `asyncpg.connect` raises.
        """
        if self._turns.locked():
            async with asyncio.timeout(self._wait_seconds):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            connection = self._open_one() or await asyncpg.connect(self._url, **self._settings)
            try:
                yield connection
            finally:
                if self._has_ended:
                    connection.terminate()
                else:
                    self._kept.append(connection)
        finally:
            self._turns.release()

    def end(self) -> None:
        """Ends those that nobody has, and each that is lent when it comes back. What a service does last."""
        self._has_ended = True
        while self._kept:
            self._kept.pop().terminate()

    def _open_one(self) -> asyncpg.Connection | None:
        """The one that came back last; a restarted database has ended them all."""
        while self._kept:
            connection: asyncpg.Connection = self._kept.pop()
            if not connection.is_closed():
                return connection
        return None
