"""Plain asyncpg connections for the lanes of group commit, each lent to one transaction at a time.

asyncpg's own pool watches and resets each connection, which took twice as long as BEGIN and COMMIT together. Here a
borrower returns a connection clean, or closes it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg


class RawConnections:
    """Opens connections when they are needed, and keeps them.

    Args:
        connect: opens one.
        at_most: how many are lent at the same time.
        wait_seconds: how long a borrower waits for its turn.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], *, at_most: int, wait_seconds: float
    ) -> None:
        self._connect = connect
        self._turns = asyncio.Semaphore(at_most)
        #: How many are lent now.
        self.lent = 0
        self._wait_seconds = wait_seconds
        self._kept: list[asyncpg.Connection] = []
        self._has_ended = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for the caller alone, who must close it if it is not clean at the end.

        Raises:
            TimeoutError: none became free in time. Also what opening one raises.
        """
        if self._turns.locked():
            async with asyncio.timeout(self._wait_seconds):
                await self._turns.acquire()
        else:
            await self._turns.acquire()
        try:
            connection = self._open_one() or await self._connect()
            self.lent += 1
            try:
                yield connection
            finally:
                self.lent -= 1
                if self._has_ended:
                    connection.terminate()
                else:
                    self._kept.append(connection)
        finally:
            self._turns.release()

    def end(self) -> None:
        """Closes idle connections now, and lent ones when they return. A service calls it last."""
        self._has_ended = True
        while self._kept:
            self._kept.pop().terminate()

    def _open_one(self) -> asyncpg.Connection | None:
        """The connection that returned last. After a restart of the database all are closed."""
        while self._kept:
            connection: asyncpg.Connection = self._kept.pop()
            if not connection.is_closed():
                return connection
        return None
