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
        to_readers: how many of them to `lend_to_reader`, however many readers wait: the lanes need the others.
        wait_seconds: how long a borrower waits for its turn.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        at_most: int,
        to_readers: int,
        wait_seconds: float,
    ) -> None:
        self._connect = connect
        self._turns = asyncio.Semaphore(at_most)
        self._turns_of_readers = asyncio.Semaphore(to_readers)
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
        async with self._turn(self._turns):
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

    @asynccontextmanager
    async def lend_to_reader(self) -> AsyncIterator[asyncpg.Connection]:
        """The same for a read, of which a caller may send as many as it likes."""
        async with self._turn(self._turns_of_readers), self.lend() as connection:
            yield connection

    @asynccontextmanager
    async def _turn(self, turns: asyncio.Semaphore) -> AsyncIterator[None]:
        if turns.locked():
            async with asyncio.timeout(self._wait_seconds):
                await turns.acquire()
        else:
            await turns.acquire()
        try:
            yield
        finally:
            turns.release()

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
