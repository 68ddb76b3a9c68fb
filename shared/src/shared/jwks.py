"""The tenants' public keys, fetched from the issuer and remembered: access tokens are checked offline."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx
import structlog

from shared.tokens import KeySet, Rejected

FRESH_SECONDS: Final = 300.0
#: While the issuer cannot be asked, keys that were good serve on: they only ever grow older, not wrong.
STALE_SECONDS: Final = 3600.0
#: An unknown kid asks the issuer again at most so often a tenant.
ASK_AGAIN_SECONDS: Final = 5.0
_TENANTS: Final = 1000
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_log = structlog.get_logger("jwks")


@dataclass(slots=True)
class _Fetched:
    keys: KeySet
    at: float
    tried_at: float


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
        self._fetched: OrderedDict[str, _Fetched] = OrderedDict()

    async def of(self, tenant: str, kid: str) -> KeySet:
        """The tenant's keys; asked anew when they are old or do not know `kid`.

        Raises:
            Rejected: the tenant has no authority.
        """
        if not _TENANT.fullmatch(tenant):
            raise Rejected("wrong_issuer", "The token comes from another issuer.")
        now = self._clock()
        found = self._fetched.get(tenant)
        if found is not None:
            is_good = kid in found.keys and now - found.at < FRESH_SECONDS
            if is_good or now - found.tried_at < ASK_AGAIN_SECONDS:
                return found.keys
            found.tried_at = now
        try:
            answer = await self._http.get(f"/tenants/{tenant}/jwks.json")
            answer.raise_for_status()
            keys = KeySet.from_jwks(answer.json())
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("keys cannot be fetched", tenant=tenant, trouble=repr(error))
            if found is not None and now - found.at < STALE_SECONDS:
                return found.keys
            keys = KeySet([])
            if found is None:
                self._remember(tenant, _Fetched(keys, float("-inf"), now))
            return keys
        self._remember(tenant, _Fetched(keys, now, now))
        return keys

    async def aclose(self) -> None:
        await self._http.aclose()

    def _remember(self, tenant: str, fetched: _Fetched) -> None:
        self._fetched[tenant] = fetched
        self._fetched.move_to_end(tenant)
        while len(self._fetched) > _TENANTS:
            self._fetched.popitem(last=False)
