"""Reconciliations over HTTP: a list streamed in, its differences streamed out."""

import sys
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.errors import UnsupportedMediaType
from shared.line_exchange import LinesResponse
from shared.lists.csv_lists import MalformedHeader
from shared.lists.encodings import UnreadableList
from shared.problems import document_refusals
from shared.reports import TooManyReports

from points_ledger.eai import schemas as eai_schemas
from points_ledger.eai.operations import SCOPE
from points_ledger.lists import DOCUMENTED_BODY, NDJSON
from points_ledger.reconciliations import schemas
from points_ledger.reconciliations.domain import Finding, Summary
from points_ledger.reconciliations.service import STATED, RangeBackwards, ReconciliationService

router = APIRouter(prefix="/eai/v1", tags=["EAI"], dependencies=document_credentials(), responses=eai_schemas.FAILED)


@router.post(
    "/reconciliations",
    summary="Compare the vendor's list of transactions with the ledger's",
    response_class=LinesResponse,
    max_body_size=sys.maxsize,
    openapi_extra=DOCUMENTED_BODY,
    responses={
        200: {"description": "A line for each difference, and a summary", "content": {NDJSON: schemas.STREAM}},
        **document_refusals(
            [UnreadableList, MalformedHeader, UnsupportedMediaType, RangeBackwards, TooManyReports],
            eai_schemas.document_failures,
        ),
    },
)
async def reconcile(
    service: Annotated[ReconciliationService, needs(ReconciliationService)],
    request: Request,
    query: Annotated[schemas.RangeQuery, Query()],
    caller: Caller = require(SCOPE),
) -> LinesResponse:
    """Any number of lines `{transactionid, state, points}`, or of CSV with these columns, in any order; `points` of a
    confirmed transaction are those deducted, of a held one those held, else 0. Nothing is changed.

    `only_yours`, `state_differs`, `points_differ` and `still_held` (we still hold the points) are found for every
    transaction that the list names; `only_ours` looks at those that were created in the range. A transaction that the
    list names twice is `malformed` the second time."""
    lines = await STATED.sent_with(request)
    found = service.compare(
        caller.tenant, caller.vendor, lines, client_id=caller.client_id, since=query.since, until=query.until
    )
    # Up to where it may be refused.
    await anext(found)
    return LinesResponse(_written(found), NDJSON)


async def _written(found: AsyncGenerator[list[Finding] | Summary, None]) -> AsyncGenerator[bytes, None]:
    try:
        async for one in found:
            if isinstance(one, Summary):
                yield schemas.summary_line(one)
            elif one:
                yield b"".join(map(schemas.finding_line, one))
    finally:
        await found.aclose()
