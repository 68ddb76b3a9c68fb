"""How many reports run at once, and for how long: they must never hold up issuing and verifying."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import sqlalchemy as sa
from shared.db import Database, sqlstate_of
from shared.errors import TooManyRequests, Unavailable
from sqlalchemy.ext.asyncio import AsyncConnection

#: So long a report waits for its turn, and a statement of it runs at most.
_WAIT_SECONDS: Final = 1.0
_STATEMENT_SECONDS: Final = 10
#: SQLSTATE of a statement that ran out of time.
_CANCELED: Final = "57014"


class TooManyReports(TooManyRequests):
    code = "too_many_reports"

    def __init__(self) -> None:
        super().__init__("Other reports are being made; ask again soon.", retry_after_seconds=2)


class Reports:
    """One a process.

    Args:
        at_once: so many connections of the pool reports may hold; the others are for the rest of the service.
    """

    def __init__(self, database: Database, *, at_once: int) -> None:
        self._database = database
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction whose statements end after a while.

        Raises:
            TooManyReports: others take all turns.
            Unavailable: the database cannot be asked, or a statement took too long.
        """
        try:
            await asyncio.wait_for(self._turns.acquire(), _WAIT_SECONDS)
        except TimeoutError:
            raise TooManyReports from None
        try:
            async with self._database.transaction() as connection:
                await connection.execute(sa.text(f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'"))
                yield connection
        except Exception as error:
            if sqlstate_of(error) == _CANCELED:
                raise Unavailable(log=f"a report took longer than {_STATEMENT_SECONDS} s") from error
            raise
        finally:
            self._turns.release()
