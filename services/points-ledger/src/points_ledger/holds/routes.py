"""`/v1/holds` for the platform: what is held at this moment, over all vendors."""

from typing import Annotated

from fastapi import APIRouter, Query
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.paging import InvalidCursor
from shared.problems import document_refusals
from shared.reports import ReportRoute, TooManyReports

from points_ledger.holds import schemas
from points_ledger.holds.service import HoldService

router = APIRouter(prefix="/v1/holds", tags=["holds"], dependencies=document_credentials(), route_class=ReportRoute)


@router.get("", summary="Open holds", responses=document_refusals([InvalidCursor, TooManyReports]))
async def list_holds(
    service: Annotated[HoldService, needs(HoldService)],
    asked: Annotated[schemas.HoldsQuery, Query()],
    caller: Caller = require("points:read", "points:admin"),
) -> schemas.HoldsBody:
    """Oldest first. Holds that have expired are not among them."""
    page = await service.open_holds(
        caller,
        user_id=asked.user_id,
        vendor_id=asked.vendor_id,
        older_than_seconds=asked.older_than,
        cursor=asked.cursor,
        limit=asked.limit,
    )
    holds = [schemas.HoldBody.model_validate(hold, from_attributes=True) for hold in page.items]
    return schemas.HoldsBody(holds=holds, next_cursor=page.next_cursor)
