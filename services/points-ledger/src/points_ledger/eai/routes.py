"""What a vendor reads of its transactions. What it changes is in `operations`."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier
from shared.paging import InvalidCursor
from shared.problems import document_refusals
from starlette.responses import Response

from points_ledger.domain.transactions import TransactionNotFound
from points_ledger.eai import schemas
from points_ledger.eai.operations import PATH, SCOPE
from points_ledger.eai.service import TransactionService

_Service = Annotated[TransactionService, needs(TransactionService)]
_FAILED: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": schemas.document_failures("Refused", []),
    "5XX": schemas.document_failures("Failed", []),
}

router = APIRouter(prefix=PATH, tags=["EAI"], dependencies=document_credentials(), responses=_FAILED)


@router.get(
    "",
    summary="The vendor's transactions, page by page",
    response_model=schemas.TransactionsBody,
    responses=document_refusals([InvalidCursor], schemas.document_failures),
)
async def list_transactions(
    service: _Service, page: Annotated[schemas.TransactionsQuery, Query()], caller: Caller = require(SCOPE)
) -> Response:
    """For reconciliation, oldest first. Follow `next_cursor` until it is null; continue another day from
    `resume_cursor`."""
    found = await service.transactions_of(
        caller, state=page.state, since=page.since, cursor=page.cursor, limit=page.limit
    )
    return _json(
        {
            "status": "success",
            "transactions": [schemas.transaction_body(transaction) for transaction in found.page.items],
            "next_cursor": found.page.next_cursor,
            "resume_cursor": found.resume_cursor,
        }
    )


@router.get(
    "/{transactionid:path}",
    summary="Where a transaction stands",
    response_model=schemas.FoundTransactionBody,
    responses=document_refusals([TransactionNotFound], schemas.document_failures),
)
async def find_transaction(
    service: _Service, transactionid: Annotated[Identifier, Path()], caller: Caller = require(SCOPE)
) -> Response:
    """State, points and every time stamp, for a vendor that lost an answer."""
    return _json(schemas.found_body(await service.find_transaction(caller, transactionid)))


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
