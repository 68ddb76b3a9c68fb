"""The use cases of vendors' settings."""

from typing import NamedTuple

from pydantic import BaseModel
from shared.calling import ServiceClient, named
from shared.errors import Unavailable
from shared.preconditions import ANY_STATE, Precondition

from points_ledger.vendors.hold_times import HoldTimes


class Vendor(NamedTuple):
    """`known`: whether the issuer has it; None where it cannot be asked."""

    hold_seconds: int
    known: bool | None


class _NamedVendor(BaseModel):
    vendor_id: str


class VendorService:
    """One in a process."""

    def __init__(self, hold_times: HoldTimes, issuer: ServiceClient) -> None:
        self._hold_times = hold_times
        self._issuer = issuer

    async def find(self, tenant: str, vendor_id: str) -> Vendor:
        hold = await self._hold_times.of(tenant, vendor_id)
        return Vendor(round(hold.total_seconds()), await self._is_known(tenant, vendor_id))

    async def set_hold_seconds(
        self,
        tenant: str,
        vendor_id: str,
        hold_seconds: int,
        condition: Precondition = ANY_STATE,
        *,
        client_id: str,
    ) -> Vendor:
        """Applies to new holds; open ones keep their end.

        Raises:
            PreconditionFailed: as it says.
        """
        await self._hold_times.set(tenant, vendor_id, hold_seconds, condition, client_id=client_id)
        return Vendor(hold_seconds, await self._is_known(tenant, vendor_id))

    async def _is_known(self, tenant: str, vendor_id: str) -> bool | None:
        path = f"/internal/tenants/{tenant}/vendors/{named(vendor_id)}"
        try:
            return await self._issuer.find(_NamedVendor, path, absent="vendor_not_found") is not None
        except Unavailable:
            return None
