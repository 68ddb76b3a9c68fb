"""`/v1/ledger/seals` for the platform: the chain that shows that no entry was changed."""

from typing import Annotated

from fastapi import APIRouter, Query
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.paging import InvalidCursor
from shared.problems import document_refusals
from shared.reports import ReportRoute, TooManyReports

from points_ledger.seals import schemas
from points_ledger.seals.service import SealService

router = APIRouter(
    prefix="/v1/ledger/seals", tags=["seals"], dependencies=document_credentials(), route_class=ReportRoute
)


@router.get("", summary="Seals of entries", responses=document_refusals([InvalidCursor, TooManyReports]))
async def list_seals(
    service: Annotated[SealService, needs(SealService)],
    asked: Annotated[schemas.SealsQuery, Query()],
    caller: Caller = require("points:read", "points:admin"),
) -> schemas.SealsBody:
    """Newest first. An entry is sealed within a minute; the first seal of the first page is the head of the chain."""
    page = await service.list_seals(caller.tenant, reader=caller.client_id, cursor=asked.cursor, limit=asked.limit)
    return schemas.SealsBody.of(page)
