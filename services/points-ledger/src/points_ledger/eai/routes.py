"""What a vendor reads of its transactions. What it changes is in `operations`."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier
from shared.paging import InvalidCursor
from shared.paths import IDENTIFIER
from shared.problems import document_refusals
from shared.reports import ReportRoute, TooManyReports
from starlette.responses import Response

from points_ledger.accounts.service import AccountService
from points_ledger.domain.accounts import InvalidUser
from points_ledger.domain.transactions import TransactionNotFound
from points_ledger.eai import schemas
from points_ledger.eai.operations import SCOPE
from points_ledger.eai.scenarios import Scenarios
from points_ledger.eai.service import TransactionService

_Service = Annotated[TransactionService, needs(TransactionService)]

router = APIRouter(
    prefix="/eai/v1",
    tags=["EAI"],
    dependencies=document_credentials(),
    responses=schemas.FAILED,
    route_class=ReportRoute,
)


@router.get(
    "/points",
    summary="The vendor's transactions, page by page",
    response_model=schemas.TransactionsBody,
    responses=document_refusals([InvalidCursor, TooManyReports], schemas.document_failures),
)
async def list_transactions(
    service: _Service, page: Annotated[schemas.TransactionsQuery, Query()], caller: Caller = require(SCOPE)
) -> Response:
    """For reconciliation, oldest first. Follow `next_cursor` until it is null, also from a page with fewer transactions
    than you asked for, or none; continue another day from `resume_cursor`."""
    found = await service.transactions_of(
        caller,
        state=page.state,
        since=page.since,
        updated_since=page.updated_since,
        cursor=page.cursor,
        limit=page.limit,
    )
    return _json(
        {
            "status": "success",
            "transactions": [schemas.transaction_body(transaction) for transaction in found.transactions],
            "next_cursor": found.next_cursor,
            "resume_cursor": found.resume_cursor,
        }
    )


@router.get(
    f"/points/{{transactionid:{IDENTIFIER}}}",
    summary="Where a transaction stands",
    response_model=schemas.FoundTransactionBody,
    responses=document_refusals([TransactionNotFound], schemas.document_failures),
)
async def find_transaction(
    service: _Service, transactionid: Annotated[Identifier, Path()], caller: Caller = require(SCOPE)
) -> Response:
    """For a vendor that has lost an answer: state, points, refunds and every time stamp."""
    return _json(schemas.found_body(*await service.find_transaction(caller, transactionid)))


@router.get(
    f"/balances/{{userid:{IDENTIFIER}}}",
    summary="What a user may spend",
    response_model=schemas.VendorBalanceBody,
    responses=document_refusals([InvalidUser], schemas.document_failures),
)
async def find_balance(
    accounts: Annotated[AccountService, needs(AccountService)],
    scenarios: Annotated[Scenarios, needs(Scenarios)],
    userid: Annotated[Identifier, Path()],
    caller: Caller = require(SCOPE),
) -> Response:
    """All that a vendor sees of an account."""
    in_sandbox = scenarios.apply_to(caller.tenant)
    if in_sandbox:
        scenarios.refuse(userid)
    try:
        balance = await accounts.balance_of(caller.tenant, userid)
    except InvalidUser:
        raise InvalidUser("There is no such user.") from None
    answer = _json(schemas.balance_body(balance))
    return await scenarios.answer(userid, answer) if in_sandbox else answer


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
