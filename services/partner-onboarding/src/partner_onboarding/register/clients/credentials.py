"""Checks the secrets of clients that call."""

from collections.abc import Sequence

from shared.db import Database

from partner_onboarding.register.clients import store
from partner_onboarding.register.clients.domain import CLIENT_ID, Client, InvalidClient
from partner_onboarding.register.clients.secret_hashing import SecretHashing


class Credentials:
    """Tells whose live secret a caller has shown, and remembers when each was used last."""

    def __init__(self, database: Database, hashing: SecretHashing) -> None:
        self._database = database
        self._hashing = hashing
        #: Written later, so that no check waits for it.
        self._last_uses: store.LastUses = {}

    async def check(self, client_id: str, client_secret: str) -> Client:
        """The client with this live secret.

        Raises:
            InvalidClient: the same answer after the same work for an unknown id, a wrong or ended secret, and a
            disabled client.
        """
        (client,) = await self.check_all([(client_id, client_secret)])
        if client is None:
            raise InvalidClient("The client id or the secret is wrong.")
        return client

    async def check_all(self, credentials: Sequence[tuple[str, str]]) -> list[Client | None]:
        """The clients with these live secrets, in order; None, after the same work, for each that `check` refuses.

        Raises:
            Unavailable: the database cannot be reached.
        """
        # An id of another form belongs to nobody; the statement runs all the same.
        wanted = dict.fromkeys(client_id if CLIENT_ID.fullmatch(client_id) else "" for client_id, _ in credentials)
        found = await store.live_secrets(self._database, list(wanted))
        return [self._proven(found.get(client_id), client_secret) for client_id, client_secret in credentials]

    def _proven(self, found: store.LiveSecrets | None, client_secret: str) -> Client | None:
        place = self._hashing.find(client_secret, [] if found is None else [kept for _, kept in found.hashes])
        if found is None or place is None:
            return None
        client = found.client
        self._last_uses[(client.tenant, client.client_id, found.hashes[place][0])] = found.at
        return client

    async def write_last_uses(self) -> None:
        """Writes the last uses of secrets since the previous call."""
        uses, self._last_uses = self._last_uses, {}
        if not uses:
            return
        try:
            async with self._database.transaction() as connection:
                await store.write_last_uses(connection, uses)
        except BaseException:
            self._last_uses = uses | self._last_uses
            raise
