"""The tenants' public keys, fetched from the issuer and remembered: access tokens are checked offline."""

import asyncio
import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx
import structlog

from shared.bounded import Bounded
from shared.errors import Unavailable
from shared.jwt import KeySet, Rejected

FRESH_SECONDS: Final = 300.0
#: While the issuer does not answer, the keys that it last published remain in use for so long (seconds).
STALE_SECONDS: Final = 3600.0
#: The shortest time (seconds) between two questions to the issuer for an unknown kid of one tenant.
ASK_AGAIN_SECONDS: Final = 5.0
#: After this time (seconds) keys that could not be fetched are asked for again.
_PAUSE_SECONDS: Final = 1.0
_TENANTS: Final = 1000
#: A stranger can name tenants that do not exist: so many unknown ones are asked about at once.
_FETCHES: Final = 32
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_log = structlog.get_logger("jwks")


@dataclass(slots=True)
class _Fetched:
    keys: KeySet
    at: float
    tried_at: float


@dataclass(frozen=True, slots=True)
class _Missed:
    until: float
    #: The issuer itself answered that there is no such authority.
    has_no_authority: bool

    def refuse(self) -> Exception:
        if self.has_no_authority:
            return Rejected("wrong_issuer", "The token comes from another issuer.")
        return Unavailable(log="the issuer's keys cannot be fetched")


class TenantKeys:
    """The key set of each tenant's authority.

    Keys are kept by tenant, so that a key of one tenant never verifies a token that names another.
    """

    def __init__(
        self,
        issuer_url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=issuer_url, transport=transport, timeout=2.0, trust_env=False)
        self._clock = clock
        self._fetched: Bounded[str, _Fetched] = Bounded(_TENANTS)
        # A cache of its own, so that made-up tenants displace no real one.
        self._missed: Bounded[str, _Missed] = Bounded(_TENANTS)
        self._fetching: dict[str, asyncio.Task[KeySet]] = {}

    async def of(self, tenant: str, kid: str) -> KeySet:
        """The tenant's keys; fetched again if they are old or lack `kid`.

        Raises:
            Rejected: the tenant has no authority.
            Unavailable: the issuer does not answer, and the service remembers no keys or only very old ones.
        """
        if not _TENANT.fullmatch(tenant):
            raise _Missed(0.0, has_no_authority=True).refuse()
        now = self._clock()
        found = self._fetched.get(tenant)
        if found is not None and now - found.at < STALE_SECONDS:
            knows, is_fetching = kid in found.keys, tenant in self._fetching
            if knows and (is_fetching or now - found.at < FRESH_SECONDS):
                return found.keys
            if not is_fetching and now - found.tried_at < ASK_AGAIN_SECONDS:
                return found.keys
            found.tried_at = now
        else:
            found = None
            missed = self._missed.get(tenant)
            if missed is not None and now < missed.until:
                raise missed.refuse()
        # Shielded: if one caller hangs up, the others still get the keys.
        return await asyncio.shield(self._fetch_once(tenant, found))

    async def aclose(self) -> None:
        await self._http.aclose()

    def _fetch_once(self, tenant: str, found: _Fetched | None) -> "asyncio.Task[KeySet]":
        """Asks the issuer once for all requests that wait for the same tenant."""
        fetching = self._fetching.get(tenant)
        if fetching is None:
            if found is None and len(self._fetching) >= _FETCHES:
                raise Unavailable(log="keys of too many unknown tenants are asked for at once")
            fetching = asyncio.create_task(self._fetch(tenant, found))
            self._fetching[tenant] = fetching
            fetching.add_done_callback(functools.partial(self._fetch_ended, tenant))
        return fetching

    def _fetch_ended(self, tenant: str, fetching: "asyncio.Task[KeySet]") -> None:
        del self._fetching[tenant]
        if not fetching.cancelled():
            # Mark the exception as retrieved: all requests that waited for it may be gone.
            fetching.exception()

    async def _fetch(self, tenant: str, found: _Fetched | None) -> KeySet:
        asked_at = self._clock()
        try:
            answer = await self._http.get(f"/tenants/{tenant}/jwks.json")
            body = answer.json()
            if not isinstance(body, dict):
                raise ValueError("no object")
            # Another 404 means a wrong address and says nothing about the tenant.
            if answer.status_code == httpx.codes.NOT_FOUND and body.get("code") == "tenant_not_found":
                self._fetched.pop(tenant)
                raise self._miss(tenant, _Missed(self._clock() + ASK_AGAIN_SECONDS, has_no_authority=True))
            answer.raise_for_status()
            keys = KeySet.from_jwks(body)
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("keys cannot be fetched", tenant=tenant, trouble=repr(error))
            if found is not None:
                return found.keys
            raise self._miss(tenant, _Missed(self._clock() + _PAUSE_SECONDS, has_no_authority=False)) from None
        self._fetched.keep(tenant, _Fetched(keys, asked_at, asked_at))
        return keys

    def _miss(self, tenant: str, missed: _Missed) -> Exception:
        self._missed.keep(tenant, missed)
        return missed.refuse()
