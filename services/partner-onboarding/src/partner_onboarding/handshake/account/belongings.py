"""The handshake's part in the end of an account."""

from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.account import erasures_store
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.register.audit.domain import Actor


class HandshakeBelongings:
    """`register.users.erasing.Belongings` of this house."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def end(self, connection: AsyncConnection, tenant: str, user_id: str, *, by: Actor) -> None:
        """Removes all links, and has the ledger close the account.

        Billed months stay, under an id that no longer leads to a person.
        """
        await self._links.remove_all(connection, tenant, user_id, by=by)
        await erasures_store.add(connection, tenant, user_id)
