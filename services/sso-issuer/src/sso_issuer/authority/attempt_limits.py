"""Limits on refused attempts, by the network that they come from and by the client that has proven itself.

A proof comes first and the count after it: who proves a client, names one that exists or has a good code is never
refused by a budget, however many others guess from the same network or under the same name. Secrets and codes have
256 random bits, so the limits are no defence against guessing: they hold back rows of the audit, and show an attack.
"""

from typing import Final

from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.proxies import ProxyTrust
from shared.rate_limits import Counts, RateLimit
from starlette.types import Scope

from sso_issuer.authority.domain import AuthorityClient, InvalidGrant

_WINDOW_SECONDS: Final = 60


class AttemptLimits:
    """Counts refusals, and answers those beyond the budget of a minute with 429.

    Args:
        per_network: requests without a good client's proof; those of browsers are counted apart.
        codes_per_client: bad codes of an authenticated client.
    """

    def __init__(self, counts: Counts, proxies: ProxyTrust, *, per_network: int, codes_per_client: int) -> None:
        self._proxies = proxies
        self._proofs_per_network = RateLimit(counts, per_network, _WINDOW_SECONDS, "authority-network")
        self._browsers_per_network = RateLimit(counts, per_network, _WINDOW_SECONDS, "authority-browsers")
        self._codes_per_client = RateLimit(counts, codes_per_client, _WINDOW_SECONDS, "authority-codes")

    async def count(
        self, refusal: Refusal, scope: Scope, client: AuthorityClient | None, *, from_browser: bool
    ) -> None:
        """Counts a refusal against the authenticated client, or else the network.

        Raises:
            TooManyRequests: the budget is used up, and says when to try again.
        """
        if isinstance(refusal, (Unavailable, TooManyRequests)):
            return
        if client is None:
            limit = self._browsers_per_network if from_browser else self._proofs_per_network
            await limit.count(self._proxies.client_network(scope) or "unknown")
        elif isinstance(refusal, InvalidGrant):
            await self._codes_per_client.count(client.tenant, client.client_id)
