"""`/v1/holds` for the platform: what is held at this moment, over all vendors."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from shared.callers import Caller, document_credentials, require, require_service
from shared.dependencies import needs
from shared.identifiers import Identifier, Tenant
from shared.paging import InvalidCursor
from shared.paths import IDENTIFIER
from shared.problems import document_refusals
from shared.reports import ReportRoute, TooManyReports

from points_ledger.holds import schemas
from points_ledger.holds.service import HoldService

internal = APIRouter(prefix="/internal", include_in_schema=False)
router = APIRouter(prefix="/v1/holds", tags=["holds"], dependencies=document_credentials(), route_class=ReportRoute)


@router.get("", summary="Open holds", responses=document_refusals([InvalidCursor, TooManyReports]))
async def list_holds(
    service: Annotated[HoldService, needs(HoldService)],
    asked: Annotated[schemas.HoldsQuery, Query()],
    caller: Caller = require("points:read", "points:admin"),
) -> schemas.HoldsBody:
    """Oldest first. Holds that have expired are not among them. Follow `next_cursor` until it is null, also from a page
    with fewer holds than you asked for, or none."""
    page = await service.open_holds(
        caller.tenant,
        reader=caller.client_id,
        user_id=asked.user_id,
        vendor_id=asked.vendor_id,
        older_than_seconds=asked.older_than,
        cursor=asked.cursor,
        limit=asked.limit,
    )
    return schemas.HoldsBody.of(page)


@internal.get(f"/tenants/{{tenant}}/accounts/{{user_id:{IDENTIFIER}}}/holds")
async def holds_of_account(
    service: Annotated[HoldService, needs(HoldService)],
    tenant: Tenant,
    user_id: Annotated[Identifier, Path()],
    _service_name: Annotated[str, require_service("partner-onboarding")],
) -> schemas.HoldsBody:
    """For the person's own page: the oldest hundred."""
    page = await service.open_holds(
        tenant,
        reader=f"person:{user_id}",
        user_id=user_id,
        vendor_id=None,
        older_than_seconds=None,
        cursor=None,
        limit=100,
    )
    return schemas.HoldsBody.of(page)
