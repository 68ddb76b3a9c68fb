"""The questions to sso-issuer: the vendors at which a tenant's users spend points."""

from dataclasses import dataclass

import httpx
from shared.calling import ServiceClient
from shared.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Vendor:
    """A shop that takes points."""

    vendor_id: str
    name: str


class IssuerClient:
    """Asks sso-issuer."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def vendors(self, tenant: str) -> list[Vendor]:
        """The tenant's vendors, by name.

        Raises:
            Unavailable: the issuer cannot be asked.
        """
        answer = await self._service.get(f"/internal/tenants/{tenant}/vendors")
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(log=f"sso-issuer: status {answer.status_code}")
        try:
            found = [Vendor(str(one["vendor_id"]), str(one["name"])) for one in answer.json()["vendors"]]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(log=f"sso-issuer: cannot be understood: {error!r}") from error
        return sorted(found, key=lambda vendor: (vendor.name.casefold(), vendor.vendor_id))
