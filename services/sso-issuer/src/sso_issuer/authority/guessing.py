"""Guessing is slowed down: refused requests are counted, by the network they come from and by the client they prove."""

from typing import Final

from shared.errors import Refusal, TooManyRequests, Unavailable
from shared.rate_limits import Counts, RateLimit

from sso_issuer.authority.domain import AuthorityClient, InvalidGrant

_WINDOW_SECONDS: Final = 60


class Guessing:
    """Refuses further attempts after too many that were refused within a minute.

    By network and not by the client that somebody claims to be: else anybody could keep a client out. Secrets have 256
    random bits, and codes as well; what is held back here is the work, and the rows of the audit.

    Args:
        per_network: requests without a good client's proof.
        codes_per_client: codes that were not good, of a client that has proven who it is.
    """

    def __init__(self, counts: Counts, *, per_network: int, codes_per_client: int) -> None:
        self._per_network = RateLimit(counts, per_network, _WINDOW_SECONDS, "authority-network")
        self._codes_per_client = RateLimit(counts, codes_per_client, _WINDOW_SECONDS, "authority-codes")

    async def check_network(self, network: str) -> None:
        """Raises TooManyRequests, saying when to try again."""
        await self._per_network.check(network)

    async def check_codes(self, client: AuthorityClient) -> None:
        """Raises TooManyRequests, saying when to try again."""
        await self._codes_per_client.check(client.tenant, client.client_id)

    async def note(self, refusal: Refusal, network: str, client: AuthorityClient | None) -> None:
        """Counts a refusal of whom it tells something about; passing trouble is nobody's fault."""
        if isinstance(refusal, (Unavailable, TooManyRequests)):
            return
        if client is None:
            await self._per_network.note(network)
        elif isinstance(refusal, InvalidGrant):
            await self._codes_per_client.note(client.tenant, client.client_id)
