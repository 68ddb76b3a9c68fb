"""The questions to sso-issuer: the vendors at which a tenant's users spend points."""

from pydantic import BaseModel
from shared.calling import ServiceClient


class Vendor(BaseModel):
    """A shop that takes points."""

    vendor_id: str
    name: str


class _Vendors(BaseModel):
    vendors: list[Vendor]


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
