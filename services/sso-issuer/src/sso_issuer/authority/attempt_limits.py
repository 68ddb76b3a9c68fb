"""Limits on refused attempts, by network and by authenticated client."""

from typing import Final

from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.proxies import ProxyTrust
from shared.rate_limits import Counts, RateLimit
from starlette.types import Scope

from sso_issuer.authority.domain import AuthorityClient, InvalidGrant

_WINDOW_SECONDS: Final = 60


class AttemptLimits:
    """Refuses further attempts after too many refused ones within a minute.

    It counts by network, not by the claimed client: otherwise anybody could lock a client out. Secrets and codes have
    256 random bits; the limits save work and rows of the audit.

    Args:
        per_network: requests without a good proof of a client.
        codes_per_client: wrong codes of an authenticated client.
    """

    def __init__(self, counts: Counts, proxies: ProxyTrust, *, per_network: int, codes_per_client: int) -> None:
        self._proxies = proxies
        self._per_network = RateLimit(counts, per_network, _WINDOW_SECONDS, "authority-network")
        self._codes_per_client = RateLimit(counts, codes_per_client, _WINDOW_SECONDS, "authority-codes")

    async def check_network(self, scope: Scope) -> None:
        """Raises TooManyRequests, saying when to try again."""
        await self._per_network.check(self._network_of(scope))

    async def check_codes(self, client: AuthorityClient) -> None:
        """Raises TooManyRequests, saying when to try again."""
        await self._codes_per_client.check(client.tenant, client.client_id)

    async def note(self, refusal: Refusal, scope: Scope, client: AuthorityClient | None) -> None:
        """Counts a refusal against the authenticated client, or else against the network of the request."""
        if isinstance(refusal, (Unavailable, TooManyRequests)):
            return
        if client is None:
            await self._per_network.note(self._network_of(scope))
        elif isinstance(refusal, InvalidGrant):
            await self._codes_per_client.note(client.tenant, client.client_id)

    def _network_of(self, scope: Scope) -> str:
        return self._proxies.client_network(scope) or "unknown"
