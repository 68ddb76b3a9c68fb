"""Releases expired holds beside the line of commands: in slices, each a short transaction of its own.

A command's batch releases a few of its accounts' expired holds by itself (`ledger`). What goes beyond that would take
the time of everybody in the batch, and is done here.

A batch that waits for the lock of one account keeps all its commands waiting. So commands of the accounts in a slice
wait in front of the line, and after each slice there is a pause, in which the database belongs to the commands.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from prometheus_client import Counter
from shared.database_failures import is_passing
from shared.db import Database
from shared.errors import Unavailable

from points_ledger import store
from points_ledger.holds import queries
from points_ledger.holds.queries import Expired
from points_ledger.store import AccountKey

#: Holds that one look finds: a look walks past all that were released before, until a vacuum has been there.
LOOK: Final = 1000
#: Holds that one transaction releases at most.
SLICE: Final = 200
#: The pause after a slice, in the slice's own time: while a command waits for it, and while none does.
_PAUSE_OF_SETTLING: Final = 0.5
_PAUSE_OF_SWEEPING: Final = 2.0
_released = Counter("ledger_released_holds", "Expired holds that were released beside the line of commands.")


class Releasing:
    """One in a process: commands and sweeper share it, so that only one slice at a time is under way.

    Args:
        is_distributed: whether the tables are, by tenant: then no two tenants share a slice.
    """

    def __init__(self, database: Database, *, is_distributed: bool = False) -> None:
        self._database = database
        self._is_distributed = is_distributed
        self._turn = asyncio.Lock()
        #: Accounts of the slice under way → done with its end.
        self._locked: Mapping[AccountKey, asyncio.Future[None]] = {}
        self._settling: dict[AccountKey, asyncio.Task[None]] = {}
        #: Those of them whose commands wait until all is released.
        self._kept_out: dict[AccountKey, asyncio.Task[None]] = {}
        self._first_due: datetime | None = None

    def in_the_way(self, account: AccountKey) -> asyncio.Future[None] | None:
        """What a command of the account should wait for before it takes its place in line."""
        return self._kept_out.get(account) or self._locked.get(account)

    @property
    def is_busy(self) -> bool:
        """Whether `in_the_way` may find something."""
        return bool(self._kept_out or self._locked)

    async def settle(self, account: AccountKey, deadline: float, *, keep_out: bool) -> None:
        """Returns when the account has no expired holds left, or (monotonic) at the deadline.

        Args:
            keep_out: until then, the account's commands should wait in front of the line.

        Raises:
            Unavailable: the database does not take it.
        """
        settling = self._settling.get(account)
        if settling is None:
            settling = self._settling[account] = asyncio.create_task(self._settle(account, deadline))
            settling.add_done_callback(lambda _: self._forget(account))
        if keep_out:
            self._kept_out[account] = settling
        # Shielded: one caller that hangs up must not stop the others' work.
        await asyncio.shield(settling)

    def _forget(self, account: AccountKey) -> None:
        del self._settling[account]
        self._kept_out.pop(account, None)

    async def sweep(self) -> int:
        """Releases up to `LOOK` of the oldest expired holds of all accounts; returns how many it found.

        Several replicas may sweep at once.

        Raises:
            Unavailable: the database does not take it.
        """
        found = await self._look(self._first_due)
        if len(found) < LOOK and self._first_due is not None:
            # Now from the beginning: a hold may have come to end earlier.
            found = await self._look(None)
        self._first_due = found[-1].expires_at if len(found) >= LOOK else None
        # Not what it found: what cannot be released must not be looked for without a pause.
        return len(found) if await self._release(found, _PAUSE_OF_SWEEPING) else 0

    async def _settle(self, account: AccountKey, deadline: float) -> None:
        since: datetime | None = None
        while time.monotonic() < deadline:
            found = await self._look(since, account)
            if not found and since is None:
                return
            since = found[-1].expires_at if len(found) >= LOOK else None
            await self._release(found, _PAUSE_OF_SETTLING, deadline)

    async def _look(self, since: datetime | None, account: AccountKey | None = None) -> list[Expired]:
        async with self._database.transaction() as connection:
            return await queries.expired_holds(connection, LOOK, since=since, account=account)

    async def _release(self, holds: Sequence[Expired], pause: float, deadline: float = math.inf) -> int:
        """Releases them slice by slice; returns how many were still there to be released."""
        released, rest = 0, sorted(holds)
        while rest and time.monotonic() < deadline:
            async with self._turn:
                started = time.monotonic()
                count = SLICE
                if self._is_distributed:
                    count = sum(1 for hold in rest[:SLICE] if hold.tenant == rest[0].tenant)
                released += await self._release_slice(rest[:count])
                rest = rest[count:]
                await asyncio.sleep(pause * (time.monotonic() - started))
        return released

    async def _release_slice(self, holds: Sequence[Expired]) -> int:
        tenant = holds[0].tenant if self._is_distributed else None
        with self._keeping_out({AccountKey(hold.tenant, hold.user_id) for hold in holds}) as accounts:
            try:
                async with self._database.raw_transaction() as connection:
                    locked = await store.lock_accounts(connection, accounts, tenant)
                    now = await store.read_clock(connection)
                    named = [hold.key for hold in holds if AccountKey(hold.tenant, hold.user_id) in locked]
                    count = await store.release_due(connection, named, now, tenant)
            except Unavailable:
                raise
            except Exception as error:
                if not is_passing(error):
                    raise
                raise Unavailable(log=f"releasing: {error!r}") from error
        _released.inc(count)
        return count

    @contextmanager
    def _keeping_out(self, accounts: Iterable[AccountKey]) -> Iterator[Iterable[AccountKey]]:
        """Commands of these accounts wait until the block ends."""
        end = asyncio.get_running_loop().create_future()
        self._locked = dict.fromkeys(accounts, end)
        try:
            yield self._locked
        finally:
            self._locked = {}
            end.set_result(None)
