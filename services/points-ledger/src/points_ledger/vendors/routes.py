"""`/v1/vendors` for the platform."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier
from shared.paths import IDENTIFIER
from shared.preconditions import ETAG_HEADER, Condition, document_condition, etag_of

from points_ledger.vendors import schemas
from points_ledger.vendors.service import VendorService

_Service = Annotated[VendorService, needs(VendorService)]
_VendorId = Annotated[Identifier, Path()]

router = APIRouter(prefix="/v1/vendors", tags=["vendors"], dependencies=document_credentials())


@router.get(f"/{{vendor_id:{IDENTIFIER}}}", summary="A vendor's hold time", responses={200: {"headers": ETAG_HEADER}})
async def find_vendor(
    service: _Service,
    vendor_id: _VendorId,
    response: Response,
    caller: Caller = require("points:read", "points:admin"),
) -> schemas.VendorBody:
    """A vendor whose hold time was never set has the default."""
    vendor = await service.find(caller.tenant, vendor_id)
    response.headers["ETag"] = etag_of(vendor.hold_seconds)
    return schemas.VendorBody(vendor_id=vendor_id, hold_seconds=vendor.hold_seconds, known=vendor.known)


@router.put(f"/{{vendor_id:{IDENTIFIER}}}", summary="Set a vendor's hold time", responses=document_condition(200))
async def set_hold_time(
    service: _Service,
    vendor_id: _VendorId,
    body: schemas.HoldTimeBody,
    response: Response,
    condition: Condition,
    caller: Caller = require("points:admin"),
) -> schemas.VendorBody:
    """Applies to new holds; open ones keep their end."""
    vendor = await service.set_hold_seconds(
        caller.tenant, vendor_id, body.hold_seconds, condition, client_id=caller.client_id
    )
    response.headers["ETag"] = etag_of(vendor.hold_seconds)
    return schemas.VendorBody(vendor_id=vendor_id, hold_seconds=vendor.hold_seconds, known=vendor.known)
