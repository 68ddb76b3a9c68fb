"""The tenants' public keys, fetched from the issuer and remembered: access tokens are checked offline.

Two rules keep what a service remembers true:

- A service calls a `kid` unknown only after it has asked the issuer. A token with a `kid` that is not remembered waits
  for a fetch that begins after the token came; the issuer answers from its database, past every cache. All tokens that
  wait share one fetch, and fetches for one tenant keep a distance, so that made-up kids cost the issuer no more than a
  few requests a second. While the issuer does not answer, the answer is 503.
- A key whose private half has leaked is refused within seconds. Once a second a service asks the issuer which keys were
  revoked, and remembers them while the issuer is away.
"""

import asyncio
import functools
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from pydantic import BaseModel

from shared.bounded import Bounded
from shared.calling import ServiceClient, named
from shared.chores import Chore
from shared.errors import Unavailable
from shared.jwt import KeySet, Rejected, UnusableKey

FRESH_SECONDS: Final = 300.0
#: While the issuer does not answer, remembered keys stay good. They grow older, never wrong: revoked keys are known.
STALE_SECONDS: Final = 3600.0
#: If old keys cannot be fetched anew, the next attempt comes after this.
ASK_AGAIN_SECONDS: Final = 5.0
#: The distance between two fetches of one tenant's keys.
PACE_SECONDS: Final = 0.25
#: How often a service asks the issuer which keys were revoked.
WATCH_SECONDS: Final = 1.0
#: After a failed fetch, the next one comes after this.
_PAUSE_SECONDS: Final = 1.0
_TENANTS: Final = 1000
_REVOKED: Final = 100_000
#: Anybody can name tenants that do not exist. This is how many of them are asked about at once.
_FETCHES: Final = 32
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_log = structlog.get_logger("jwks")


class RevokedKey(BaseModel):
    """A key that was revoked because its private half has leaked."""

    tenant: str
    kid: str


class RevokedKeysBody(BaseModel):
    """The issuer's answer to the other services: the keys that were revoked within the last hour."""

    revoked: list[RevokedKey]


class KeySetBody(BaseModel):
    """The issuer's answer to the other services: a tenant's key set as the database has it now."""

    keys: list[dict[str, Any]]


class KeySource(Protocol):
    """The issuer."""

    async def key_set(self, tenant: str) -> Mapping[str, Any] | None:
        """The tenant's JWKS as it is now, past every cache; None if the tenant has no authority.

        Raises:
            Unavailable: the issuer cannot be asked.
        """

    async def revoked_keys(self, watcher: str) -> frozenset[tuple[str, str]]:
        """(tenant, kid) of each key that was revoked within the last hour.

        Args:
            watcher: the name of the process that asks. The issuer answers a revocation after all watchers know it.

        Raises:
            Unavailable: the issuer cannot be asked.
        """

    async def aclose(self) -> None: ...


class HttpKeySource:
    """The issuer over HTTP: its internal interface."""

    def __init__(self, issuer: ServiceClient) -> None:
        self._issuer = issuer

    async def key_set(self, tenant: str) -> Mapping[str, Any] | None:
        path = f"/internal/tenants/{named(tenant)}/keys"
        found = await self._issuer.find(KeySetBody, path, absent="tenant_not_found")
        return None if found is None else found.model_dump()

    async def revoked_keys(self, watcher: str) -> frozenset[tuple[str, str]]:
        answer = await self._issuer.read(RevokedKeysBody, "/internal/revoked-keys", {"watcher": watcher})
        return frozenset((key.tenant, key.kid) for key in answer.revoked)

    async def aclose(self) -> None:
        await self._issuer.aclose()


@dataclass(slots=True)
class _Fetched:
    keys: KeySet
    at: float
    tried_at: float


class TenantKeys:
    """The key set of each tenant's authority.

    Keys are kept by tenant, so that a key of one tenant never verifies a token that names another.

    Args:
        clock: seconds, monotonic; handed in by tests.
        pace_seconds: handed in by tests.
    """

    def __init__(
        self,
        source: KeySource,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace_seconds: float = PACE_SECONDS,
    ) -> None:
        self._source = source
        self._clock = clock
        self._pace_seconds = pace_seconds
        self._fetched: Bounded[str, _Fetched] = Bounded(_TENANTS)
        # Kept apart, so that tokens of made-up tenants push no real tenant out.
        self._failed: Bounded[str, bool] = Bounded(_TENANTS, seconds=_PAUSE_SECONDS, clock=clock)
        #: When the last fetch of a tenant began, by the event loop's clock.
        self._began: Bounded[str, float] = Bounded(_TENANTS)
        #: Fetches that have not begun yet, which others may join; and fetches under way, one a tenant.
        self._waiting: dict[str, asyncio.Task[KeySet]] = {}
        self._running: dict[str, asyncio.Task[KeySet]] = {}
        #: (tenant, kid); kept for longer than the issuer names them, and longer than any token lives.
        self._revoked: Bounded[tuple[str, str], bool] = Bounded(_REVOKED, seconds=2 * STALE_SECONDS, clock=clock)
        self._watcher = secrets.token_hex(8)

    async def of(self, tenant: str, kid: str) -> KeySet:
        """The tenant's keys. If `kid` is not among them, there is no such key at this moment.

        Raises:
            Rejected: the tenant has no authority, or the key was revoked.
            Unavailable: the issuer cannot be asked, and the key is not remembered.
        """
        if not _TENANT.fullmatch(tenant):
            raise _no_authority()
        self._refuse_revoked(tenant, kid)
        keys = await self._find(tenant, kid)
        # Again: the key may have been revoked while the set was fetched.
        self._refuse_revoked(tenant, kid)
        return keys

    async def look_for_revoked(self) -> None:
        """Asks the issuer which keys were revoked, and refuses them from now on.

        Raises:
            Unavailable: the issuer cannot be asked.
        """
        for key in await self._source.revoked_keys(self._watcher):
            self._revoked.keep(key, True)

    def watching(self) -> Chore:
        """The chore that looks for revoked keys."""
        return Chore("look for revoked keys", self.look_for_revoked, every_seconds=WATCH_SECONDS, timeout_seconds=5.0)

    async def aclose(self) -> None:
        tasks = [*self._waiting.values(), *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._source.aclose()

    def _refuse_revoked(self, tenant: str, kid: str) -> None:
        if (tenant, kid) in self._revoked:
            raise Rejected("unknown_key", "The token names a key that was revoked.")

    async def _find(self, tenant: str, kid: str) -> KeySet:
        now = self._clock()
        found = self._fetched.get(tenant)
        if found is not None and now - found.at < STALE_SECONDS and kid in found.keys:
            is_old = now - found.at >= FRESH_SECONDS and now - found.tried_at >= ASK_AGAIN_SECONDS
            # One request fetches old keys anew; no other request with a known key waits for it.
            if not is_old or tenant in self._running or tenant in self._waiting:
                return found.keys
            found.tried_at = now
            try:
                return await asyncio.shield(self._next_fetch(tenant))
            except Unavailable:
                return found.keys
        running = self._running.get(tenant)
        if running is not None:
            # This fetch may have read before the key was there: its yes counts, its no does not.
            with suppress(Rejected):
                keys = await asyncio.shield(running)
                if kid in keys:
                    return keys
        # Shielded: if one caller hangs up, the others still get the keys.
        return await asyncio.shield(self._next_fetch(tenant))

    def _next_fetch(self, tenant: str) -> "asyncio.Task[KeySet]":
        """The fetch that has not begun yet."""
        fetch = self._waiting.get(tenant)
        if fetch is None:
            if tenant in self._failed:
                raise Unavailable(log="the issuer's keys could not be fetched a moment ago")
            if tenant not in self._fetched and len(self._waiting) + len(self._running) >= _FETCHES:
                raise Unavailable(log="keys of too many unknown tenants are asked for at once")
            fetch = asyncio.create_task(self._fetch_in_turn(tenant), name=f"keys-of-{tenant}")
            self._waiting[tenant] = fetch
            fetch.add_done_callback(functools.partial(self._fetch_ended, tenant))
        return fetch

    async def _fetch_in_turn(self, tenant: str) -> KeySet:
        running = self._running.get(tenant)
        if running is not None:
            await asyncio.wait([running])
        loop = asyncio.get_running_loop()
        began = self._began.get(tenant)
        if began is not None:
            await asyncio.sleep(began + self._pace_seconds - loop.time())
        self._running[tenant] = self._waiting.pop(tenant)
        self._began.keep(tenant, loop.time())
        return await self._fetch(tenant)

    def _fetch_ended(self, tenant: str, fetch: "asyncio.Task[KeySet]") -> None:
        for tasks in (self._waiting, self._running):
            if tasks.get(tenant) is fetch:
                del tasks[tenant]
        if not fetch.cancelled():
            # Mark the exception as retrieved: all requests that waited for it may be gone.
            fetch.exception()

    async def _fetch(self, tenant: str) -> KeySet:
        asked_at = self._clock()
        try:
            jwks = await self._source.key_set(tenant)
            keys = None if jwks is None else KeySet.from_jwks(jwks)
        except (Unavailable, UnusableKey) as error:
            _log.warning("keys cannot be fetched", tenant=tenant, trouble=str(error))
            self._failed.keep(tenant, True)
            raise Unavailable(log="the issuer's keys cannot be fetched") from None
        if keys is None:
            self._fetched.pop(tenant)
            raise _no_authority()
        self._fetched.keep(tenant, _Fetched(keys, asked_at, asked_at))
        return keys


def _no_authority() -> Rejected:
    return Rejected("wrong_issuer", "The token comes from another issuer.")
