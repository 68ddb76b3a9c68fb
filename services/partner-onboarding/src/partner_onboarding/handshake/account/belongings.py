"""The handshake's records about a person: agreements, and links with assigned months."""

from typing import Any

from shared.times import iso
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.handshake.account import erasures_store
from partner_onboarding.handshake.links import assignments as assignments_store
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.handshake.registrations import store as registrations_store
from partner_onboarding.register.audit.domain import Actor


class HandshakeBelongings:
    """`register.own_account.Belongings` of this house."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def tell(self, connection: AsyncConnection, tenant: str, user_id: str) -> dict[str, Any]:
        """The records as `agreements` and `partners`, oldest first."""
        agreements = await registrations_store.agreements_of(connection, tenant, user_id)
        links = await links_store.history_of(connection, tenant, user_id)
        assigned = await assignments_store.assignments_of_user(connection, tenant, user_id)
        return {
            "agreements": [
                {"document": document, "version": version, "language": language, "agreed_at": iso(at)}
                for document, version, language, at in agreements
            ],
            "partners": [
                {
                    "name": name,
                    "linked_at": iso(link.linked_at),
                    "activated_at": None if link.activated_at is None else iso(link.activated_at),
                    "removed_at": None if link.removed_at is None else iso(link.removed_at),
                    "months_assigned": [
                        iso(at) for client_id, n, at in assigned if (client_id, n) == (link.client_id, link.n)
                    ],
                }
                for name, link in links
            ],
        }

    async def end(self, connection: AsyncConnection, tenant: str, user_id: str, *, by: Actor) -> None:
        """Removes all links, and has the ledger close the account.

        Billed months stay, under an id that no longer leads to a person.
        """
        await self._links.remove_all(connection, tenant, user_id, by=by)
        await erasures_store.add(connection, tenant, user_id)
