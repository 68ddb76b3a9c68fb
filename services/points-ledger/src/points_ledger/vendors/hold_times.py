"""Hold times of vendors. Every commit needs one and they rarely change, so they are remembered briefly."""

import asyncio
import time
from datetime import timedelta
from typing import Final

from shared.acts import Act, note
from shared.bounded import Bounded
from shared.db import Database
from shared.preconditions import ANY_STATE, Precondition

from points_ledger.accounts.queries import read_clock
from points_ledger.tables import acts
from points_ledger.vendors import queries

REMEMBER_SECONDS: Final = 2.0
_REMEMBERED: Final = 10_000


class HoldTimes:
    """One in a process. It sees another process's change after `REMEMBER_SECONDS`."""

    def __init__(self, database: Database, *, default_seconds: int) -> None:
        self._database = database
        self._default_seconds = default_seconds
        self._known: Bounded[tuple[str, str], tuple[float, timedelta]] = Bounded(_REMEMBERED)
        self._asking: dict[tuple[str, str], asyncio.Task[timedelta]] = {}

    async def of(self, tenant: str, vendor_id: str) -> timedelta:
        """The vendor's own hold time, or the default."""
        key = (tenant, vendor_id)
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < REMEMBER_SECONDS:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            # One read for all that wait: a thousand commits at once would take all connections for the same question.
            asking = self._asking[key] = asyncio.create_task(self._ask(key))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        # Shielded: if one caller hangs up, the others still get the answer.
        return await asyncio.shield(asking)

    async def set(
        self,
        tenant: str,
        vendor_id: str,
        hold_seconds: int,
        condition: Precondition = ANY_STATE,
        *,
        client_id: str,
    ) -> None:
        """Applies to new holds; open ones keep their end.

        Raises:
            PreconditionFailed: as it says; the default counts as a state, too.
        """
        async with self._database.transaction() as connection:
            present = await queries.lock_hold_seconds(connection, tenant, vendor_id, self._default_seconds)
            condition.check(present)
            await queries.set_hold_seconds(connection, tenant, vendor_id, hold_seconds)
            if present != hold_seconds:
                before, after = {"hold_seconds": present}, {"hold_seconds": hold_seconds}
                act = Act(tenant, client_id, "hold_time_changed", vendor_id, before, after)
                await note(connection, acts, act, await read_clock(connection))
        self._known.keep((tenant, vendor_id), (time.monotonic(), timedelta(seconds=hold_seconds)))

    async def _ask(self, key: tuple[str, str]) -> timedelta:
        asked_at = time.monotonic()
        async with self._database.transaction() as connection:
            seconds = await queries.read_hold_seconds(connection, *key)
        hold = timedelta(seconds=seconds or self._default_seconds)
        known = self._known.get(key)
        if known is not None and known[0] > asked_at:
            # The hold time was set while this read was under way.
            return known[1]
        self._known.keep(key, (asked_at, hold))
        return hold
