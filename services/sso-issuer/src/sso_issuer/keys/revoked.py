"""The keys that were revoked lately, and the processes that know of them.

Each process of each service asks once a second. A revocation waits for all of them before it is answered, so that the
issuer may go away after its answer: everybody who takes tokens knows by then.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from shared.bounded import Bounded
from shared.db import Database

from sso_issuer.keys import store
from sso_issuer.keys.material import Jwk

#: A process that has not asked for so long (seconds) is gone, or asks another replica.
_PRESENT_SECONDS: Final = 3.0
_PATIENCE_SECONDS: Final = 3.0
_WATCHERS: Final = 1000


class RevokedKeys:
    """Tells the services which keys were revoked."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        #: By watcher: when it began to ask the last time.
        self._asked: Bounded[str, float] = Bounded(_WATCHERS, seconds=_PRESENT_SECONDS, clock=clock)
        self._answered = asyncio.Event()

    async def listed(self, watcher: str) -> list[tuple[str, str]]:
        """(tenant, kid) of the keys that were revoked within the last hour, the latest first.

        Args:
            watcher: the name of the process that asks.

        Raises:
            Unavailable: the database cannot be asked.
        """
        began = self._clock()
        revoked = await store.read_revoked(self._database)
        self._asked.keep(watcher, began)
        self._answered.set()
        return revoked

    async def wait_until_known(self) -> None:
        """Waits until every process that asks has asked again, but no longer than a few seconds."""
        began = self._clock()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while any(asked is not None and asked < began for asked in map(self._asked.get, self._asked)):
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            # A process that does not come asks as soon as it can; nobody waits for it here.
            return


class OwnKeySource:
    """The key source of the issuer itself: its own database."""

    def __init__(self, database: Database, revoked: RevokedKeys) -> None:
        self._database = database
        self._revoked = revoked

    async def key_set(self, tenant: str) -> dict[str, list[Jwk]] | None:
        async with self._database.transaction() as connection:
            keys = await store.read_published(connection, tenant)
        return {"keys": keys} if keys else None

    async def revoked_keys(self, watcher: str) -> frozenset[tuple[str, str]]:
        return frozenset(await self._revoked.listed(watcher))

    async def aclose(self) -> None:
        """The database is closed by `create_app`."""
