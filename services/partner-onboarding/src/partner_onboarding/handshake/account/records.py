"""What stands about a person beside the register: agreements, links and mails here, points at the ledger, and at the
issuer the shops that were told about the person. Each is a `register.own_account.Records`."""

from typing import Any, Final

from shared.db import Database
from shared.times import iso

from partner_onboarding.handshake.account.issuer_client import IssuerClient
from partner_onboarding.handshake.account.ledger_client import Entry, LedgerClient
from partner_onboarding.handshake.links import assignments as assignments_store
from partner_onboarding.handshake.links import store as links_store
from partner_onboarding.handshake.mail.service import Mails
from partner_onboarding.handshake.registrations import store as registrations_store

_ENTRIES_AT_ONCE: Final = 500


class HandshakeRecords:
    """Agreements, links with assigned months, and mails."""

    def __init__(self, database: Database, mails: Mails) -> None:
        self._database = database
        self._mails = mails

    async def about(self, tenant: str, user_id: str) -> dict[str, Any]:
        """The records as `agreements`, `partners` and `mails`, oldest first."""
        async with self._database.transaction() as connection:
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
            "mails": await self._mails.about(tenant, user_id),
        }


class PointsRecords:
    """The person's account at the ledger."""

    def __init__(self, ledger: LedgerClient) -> None:
        self._ledger = ledger

    async def about(self, tenant: str, user_id: str) -> dict[str, Any]:
        """`points` with the balance, running holds, and all entries, newest first; None without an account."""
        balance = await self._ledger.balance(tenant, user_id)
        if balance is None:
            return {"points": None}
        return {
            "points": {
                "available": balance.available,
                "held": balance.held,
                "as_of": iso(balance.as_of),
                "holds": [one.model_dump(mode="json") for one in await self._ledger.holds(tenant, user_id)],
                "entries": [one.model_dump(mode="json") for one in await self._entries(tenant, user_id)],
            }
        }

    async def _entries(self, tenant: str, user_id: str) -> list[Entry]:
        found: list[Entry] = []
        cursor = None
        while True:
            page = await self._ledger.entries(tenant, user_id, cursor=cursor, limit=_ENTRIES_AT_ONCE)
            if page is None:
                return found
            found += page.entries
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor


class ShopsRecords:
    """The shops to which the person was sent, each with name, address and points at that moment."""

    def __init__(self, issuer: IssuerClient) -> None:
        self._issuer = issuer

    async def about(self, tenant: str, user_id: str) -> dict[str, Any]:
        """`shops_told`, newest first."""
        names = {vendor.vendor_id: vendor.name for vendor in await self._issuer.vendors(tenant)}
        issued = await self._issuer.issuances(tenant, user_id)
        return {
            "shops_told": [
                one.model_dump(mode="json") | {"name": names.get(one.vendor_id, one.vendor_id)} for one in issued
            ]
        }
