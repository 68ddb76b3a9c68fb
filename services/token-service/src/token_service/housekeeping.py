"""What is done now and then: keys relieved and retired, old tokens purged, old answers forgotten.

Nothing depends on it being on time, and several replicas may do it at once: whoever comes second finds nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter, Gauge
from shared.db import Database
from shared.errors import Unavailable
from shared.idempotency import Answers

from token_service.keys import store as key_store
from token_service.keys.ring import KeyRing
from token_service.keys.store import KeyRow
from token_service.tokens import purging
from token_service.tokens.format import MAX_SEQUENCE

_PURGED_AT_ONCE: Final = 5000
#: A key is relieved when so many of its numbers are drawn, long before there are none.
_TIRED: Final = MAX_SEQUENCE // 2
#: A process that has not heard of a rotation for so long is not running any more.
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

    async def keep_house(self) -> None:
        """All of it, once.

        Raises:
            Unavailable: the database cannot be asked.
        """
        await self._answers.forget_old()
        async with self._database.transaction() as connection:
            now, keys = await key_store.read_clock_and_all(connection)
        newest = {row.tenant: row for row in keys}
        for tenant, row in newest.items():
            await self._purge(tenant)
            if now - row.signs_from > self._rotate_after or row.next_sequence > _TIRED:
                await self._ring.relieve(row)
        for row in keys:
            successor = _successor(row, keys)
            if row.retired_at is None and successor is not None and now - successor.signs_from > _LATEST_SIGNATURE:
                await self._retire(row)

    async def tell_ages(self) -> None:
        """Tells the metrics how old the keys are that sign.

        Raises:
            Unavailable: the database cannot be asked.
        """
        async with self._database.transaction() as connection:
            now, keys = await key_store.read_clock_and_all(connection)
        signing = {row.tenant: row for row in keys if row.signs_from <= now}  # of each tenant the last one
        _age.set(max(((now - row.signs_from).total_seconds() for row in signing.values()), default=0.0))

    async def _purge(self, tenant: str) -> None:
        while True:
            async with self._database.transaction() as connection:
                purged = await purging.purge(connection, tenant, self._retention, _PURGED_AT_ONCE)
            _purged.inc(purged)
            if purged < _PURGED_AT_ONCE:
                return

    async def _retire(self, row: KeyRow) -> None:
        async with self._database.transaction() as connection:
            if await key_store.retire(connection, row.tenant, row.number):
                _log.info("key retired", tenant=row.tenant, number=row.number)

    async def keep_house_forever(self, pause_seconds: float) -> None:
        while True:
            await _unless_unavailable(self.tell_ages)
            # Jitter, so that replicas do not come at the same moment.
            await asyncio.sleep(pause_seconds * random.uniform(0.8, 1.2))  # noqa: S311 — not a secret
            await _unless_unavailable(self.keep_house)


async def _unless_unavailable(chore: Callable[[], Awaitable[None]]) -> None:
    try:
        await chore()
    except Unavailable as error:
        _log.warning("housekeeping put off", why=error.log)


async def refresh_keys_forever(ring: KeyRing, pause_seconds: float) -> None:
    """Reads the keys that other processes have made."""
    while True:
        await asyncio.sleep(pause_seconds)
        try:
            await ring.refresh()
        except Unavailable as error:
            _log.warning("keys not read", why=error.log)


def _successor(row: KeyRow, keys: list[KeyRow]) -> KeyRow | None:
    return next((other for other in keys if (other.tenant, other.number) == (row.tenant, row.number + 1)), None)
