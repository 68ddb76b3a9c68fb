"""Periodic work: rotate and retire keys, purge old tokens, delete old answers.

Nothing depends on its being on time, and several replicas may do it at once: the second finds nothing to do.
"""

from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from shared.chores import Chore
from shared.db import Database
from shared.idempotency import Answers

from token_service.keys import store as key_store
from token_service.keys.ring import KeyRing
from token_service.keys.store import KeyRow
from token_service.tokens import purging
from token_service.tokens.format import MAX_SEQUENCE

_PURGED_AT_ONCE: Final = 5000
#: How many numbers of a key may be drawn before a new key takes over, long before none is left.
_TIRED: Final = MAX_SEQUENCE // 2
#: After this time no running process can still use a key that was rotated.
_LATEST_SIGNATURE: Final = timedelta(days=1)
_log = structlog.get_logger("housekeeping")
_age = Gauge(
    "tokens_signing_key_age_seconds",
    "How long the oldest of all tenants' signing keys has signed. Alarm when it passes the time of rotation.",
)
_purged = Counter("tokens_purged", "Rows of tokens deleted after their retention.")


class Housekeeping:
    """One a process."""

    def __init__(
        self, database: Database, ring: KeyRing, answers: Answers, *, rotate_after: timedelta, retention: timedelta
    ) -> None:
        self._database = database
        self._ring = ring
        self._answers = answers
        self._rotate_after = rotate_after
        self._retention = retention

    def chores(self, pause_seconds: float) -> tuple[Chore, ...]:
        """What the process does each `pause_seconds`; an error in one of them holds up none of the others."""
        return (
            Chore("tell ages of keys", self.tell_ages, every_seconds=pause_seconds),
            self._answers.forgetting(pause_seconds),
            Chore("purge tokens", self.purge, every_seconds=pause_seconds, full_slice=_PURGED_AT_ONCE),
            Chore("rotate and retire keys", self.move_keys, every_seconds=pause_seconds),
        )

    async def keep_house(self) -> None:
        """Does everything once.

        Raises:
            Unavailable: the database cannot be asked.
        """
        await self._answers.forget_old()
        while await self.purge() >= _PURGED_AT_ONCE:
            pass
        await self.move_keys()

    async def purge(self) -> int:
        """Deletes a slice of each tenant's tokens that are past their retention; returns the size of the largest.

        Raises:
            Unavailable: the database cannot be asked.
        """
        async with self._database.transaction() as connection:
            _, keys = await key_store.read_clock_and_all(connection)
        most = 0
        for tenant in {row.tenant: row for row in keys}:
            async with self._database.transaction() as connection:
                purged = await purging.purge(connection, tenant, self._retention, _PURGED_AT_ONCE)
            _purged.inc(purged)
            most = max(most, purged)
        return most

    async def move_keys(self) -> None:
        """Adds a successor to keys that have signed for long enough, and retires those whose tokens are all purged.

        Raises:
            Unavailable: the database cannot be asked.
        """
        async with self._database.transaction() as connection:
            now, keys = await key_store.read_clock_and_all(connection)
        newest = {row.tenant: row for row in keys}
        for row in newest.values():
            if await self._ring.leave_if_foreign(row.tenant, row.number):
                continue
            if now - row.signs_from > self._rotate_after or row.next_sequence > _TIRED:
                await self._ring.add_successor(row)
        for row in keys:
            successor = _successor(row, keys)
            if row.retired_at is None and successor is not None and now - successor.signs_from > _LATEST_SIGNATURE:
                await self._retire(row)

    async def tell_ages(self) -> None:
        """Sets the metrics of the ages of signing keys.

        Raises:
            Unavailable: the database cannot be asked.
        """
        async with self._database.transaction() as connection:
            now, keys = await key_store.read_clock_and_all(connection)
        signing = {row.tenant: row for row in keys if row.signs_from <= now}  # of each tenant the last one
        _age.set(max(((now - row.signs_from).total_seconds() for row in signing.values()), default=0.0))

    async def _retire(self, row: KeyRow) -> None:
        async with self._database.transaction() as connection:
            if await key_store.retire(connection, row.tenant, row.number):
                _log.info("key retired", tenant=row.tenant, number=row.number)


def _successor(row: KeyRow, keys: list[KeyRow]) -> KeyRow | None:
    return next((other for other in keys if (other.tenant, other.number) == (row.tenant, row.number + 1)), None)
