"""Releases expired holds beside the line of commands: in slices, each a short transaction of its own.

A command's batch releases a few of its accounts' expired holds by itself (`ledger`). What goes beyond that would take
the time of everybody in the batch, and is done here.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter
from shared.db import Database, is_passing
from shared.errors import Unavailable

from points_ledger import store
from points_ledger.store import AccountKey

#: Holds that one transaction releases: so long its accounts are locked.
SLICE: Final = 250
_released = Counter("ledger_released_holds", "Expired holds that were released beside the line of commands.")


class Releasing:
    """One in a process for the commands, and one for the sweeper."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # One transaction at a time, so that accounts with many expired holds take turns with everybody else.
        self._turn = asyncio.Lock()
        self._settling: dict[AccountKey, asyncio.Task[None]] = {}

    async def settle(self, account: AccountKey, deadline: float) -> None:
        """Returns when the account has no expired holds left, or (monotonic) at the deadline.

        Raises:
            Unavailable: the database does not take it.
        """
        settling = self._settling.get(account)
        if settling is None:
            settling = self._settling[account] = asyncio.create_task(self._settle(account, deadline))
            settling.add_done_callback(lambda _: self._settling.pop(account, None))
        # Shielded: one caller that hangs up must not stop the others' work.
        await asyncio.shield(settling)

    async def release(self, accounts: Iterable[AccountKey]) -> int:
        """Releases up to a slice of the expired holds of these accounts; returns how many.

        Raises:
            Unavailable: the database does not take it.
        """
        async with self._turn:
            try:
                async with self._database.raw_transaction() as connection:
                    locked = await store.lock_accounts(connection, accounts)
                    now = await store.read_clock(connection)
                    count = await store.release_due(connection, locked, now, SLICE)
            except Unavailable:
                raise
            except Exception as error:
                if not is_passing(error):
                    raise
                raise Unavailable(log=f"releasing: {error!r}") from error
        _released.inc(count)
        return count

    async def _settle(self, account: AccountKey, deadline: float) -> None:
        while await self.release([account]) >= SLICE and time.monotonic() < deadline:
            pass
