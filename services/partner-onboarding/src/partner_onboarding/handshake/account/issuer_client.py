"""The questions to sso-issuer: a tenant's vendors, and which of them were told about a person."""

from pydantic import BaseModel
from shared.calling import ServiceClient, named
from shared.times import Timestamp


class Vendor(BaseModel):
    """A shop that takes points."""

    vendor_id: str
    name: str


class _Vendors(BaseModel):
    vendors: list[Vendor]


class Issuance(BaseModel):
    """A token that told a shop who somebody is."""

    vendor_id: str
    points: int
    issued_at: Timestamp
    redeemed_at: Timestamp | None


class _Issuances(BaseModel):
    issuances: list[Issuance]
    next_cursor: str | None


class IssuerClient:
    """Asks sso-issuer."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def vendors(self, tenant: str) -> list[Vendor]:
        """The tenant's vendors, by name.

        Raises:
            Unavailable: the issuer cannot be asked.
        """
        found = await self._service.read(_Vendors, f"/internal/tenants/{tenant}/vendors")
        return sorted(found.vendors, key=lambda vendor: (vendor.name.casefold(), vendor.vendor_id))

    async def issuances(self, tenant: str, user_id: str) -> list[Issuance]:
        """Everything that shops were told about the person, newest first.

        Raises:
            Unavailable: the issuer cannot be asked.
        """
        path = f"/internal/tenants/{tenant}/users/{named(user_id)}/issuances"
        page = await self._service.read(_Issuances, path)
        found = page.issuances
        while page.next_cursor is not None:
            page = await self._service.read(_Issuances, path, {"cursor": page.next_cursor})
            found += page.issuances
        return found
