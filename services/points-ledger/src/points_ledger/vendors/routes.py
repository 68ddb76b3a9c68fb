"""`/v1/vendors` for the platform."""

from typing import Annotated

from fastapi import APIRouter
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier

from points_ledger.vendors import schemas
from points_ledger.vendors.hold_times import HoldTimes

router = APIRouter(prefix="/v1/vendors", tags=["vendors"], dependencies=document_credentials())


@router.put("/{vendor_id}", summary="Set a vendor's hold time")
async def set_hold_time(
    hold_times: Annotated[HoldTimes, needs(HoldTimes)],
    vendor_id: Identifier,
    body: schemas.HoldTimeBody,
    caller: Caller = require("points:admin"),
) -> schemas.HoldTimeBody:
    """For holds from now on; those that are open keep their end."""
    await hold_times.set(caller.tenant, vendor_id, body.hold_seconds)
    return body
