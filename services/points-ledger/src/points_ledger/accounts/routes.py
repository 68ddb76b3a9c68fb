"""`/v1/accounts` for the platform, and the internal balance for the platform's other services."""

import sys
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from shared.callers import Caller, document_credentials, require, require_service
from shared.dependencies import needs
from shared.errors import Refusal, UnsupportedMediaType
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Identifier, Tenant
from shared.line_exchange import LinesResponse
from shared.lists.csv_lists import MalformedHeader
from shared.lists.encodings import UnreadableList
from shared.paths import IDENTIFIER, identifier_above
from shared.problems import document_refusals
from shared.reports import ReportRoute, TooManyReports

from points_ledger.accounts import importing, schemas
from points_ledger.accounts.service import AccountService, ClosedAccount, InstantInTheFuture
from points_ledger.domain.accounts import (
    AccountClosed,
    AccountNotFound,
    BalanceLimit,
    Entry,
    InsufficientPoints,
    ReferenceMismatch,
)
from points_ledger.lists import DOCUMENTED_BODY, NDJSON
from points_ledger.orders import Settled

ADMIN = "points:admin"
READ = ("points:read", "points:admin")
_ACCOUNT: Final = identifier_above("account", "/entries", "/credits", "/debits")
_REFUSED_ENTRIES: Final = (AccountNotFound, AccountClosed, ReferenceMismatch, BalanceLimit)
_UserId = Annotated[Identifier, Path()]
_Service = Annotated[AccountService, needs(AccountService)]

router = APIRouter(prefix="/v1", tags=["accounts"], dependencies=document_credentials(), route_class=ReportRoute)
internal = APIRouter(prefix="/internal", include_in_schema=False)


@router.get(
    f"/accounts/{{user_id:{IDENTIFIER}}}/entries",
    summary="Statement",
    responses=document_refusals([AccountNotFound, TooManyReports]),
)
async def statement(
    service: _Service,
    user_id: _UserId,
    page: Annotated[schemas.StatementQuery, Query()],
    caller: Caller = require(*READ),
) -> schemas.StatementBody:
    """Every entry with the balance after it, newest first."""
    found = await service.statement_of(
        caller.tenant, user_id, reader=caller.client_id, cursor=page.cursor, limit=page.limit
    )
    return schemas.StatementBody.of(found)


@router.post(
    f"/accounts/{{user_id:{IDENTIFIER}}}/credits",
    summary="Earn points",
    status_code=201,
    response_model=schemas.EntryBody,
    responses={
        200: {"model": schemas.EntryBody, "description": "The reference was credited before"},
        **document_refusals(_REFUSED_ENTRIES),
    },
)
async def credit(
    service: _Service,
    user_id: _UserId,
    body: schemas.PostBody,
    key: IdempotencyKey,
    caller: Caller = require(ADMIN),
) -> Response:
    """The same reference again gives the same entry; with other points it is refused."""
    return await _post(service, user_id, body, body.points, key, caller)


@router.post(
    f"/accounts/{{user_id:{IDENTIFIER}}}/debits",
    summary="Take points",
    status_code=201,
    response_model=schemas.EntryBody,
    responses={
        200: {"model": schemas.EntryBody, "description": "The reference was debited before"},
        **document_refusals([*_REFUSED_ENTRIES, InsufficientPoints]),
    },
)
async def debit(
    service: _Service,
    user_id: _UserId,
    body: schemas.PostBody,
    key: IdempotencyKey,
    caller: Caller = require(ADMIN),
) -> Response:
    """Refused with `insufficient_points` if fewer points are available; a debit takes no held points."""
    return await _post(service, user_id, body, -body.points, key, caller)


@router.put(
    f"/accounts/{{user_id:{_ACCOUNT}}}",
    summary="Open an account",
    response_model=schemas.BalanceBody,
    responses={
        201: {"model": schemas.BalanceBody, "description": "Opened"},
        **document_refusals([AccountClosed]),
    },
)
async def open_account(
    service: _Service, response: Response, user_id: _UserId, caller: Caller = require(ADMIN)
) -> schemas.BalanceBody:
    """201 if the account is new, 200 if it existed."""
    balance, opened = await service.open_account(caller.tenant, user_id, client_id=caller.client_id)
    response.status_code = 201 if opened else 200
    return schemas.BalanceBody.of(balance)


@router.delete(
    f"/accounts/{{user_id:{_ACCOUNT}}}",
    summary="Close an account for good",
    responses=document_refusals([AccountNotFound]),
)
async def close_account(
    service: _Service,
    user_id: _UserId,
    query: Annotated[schemas.CloseQuery, Query()],
    caller: Caller = require(ADMIN),
) -> schemas.ClosedAccountBody:
    """What is available lapses. Open holds may still be confirmed, and what they give back lapses as well.

    Commits find no such user any more; opening, credits and debits are refused; reads go on.
    """
    return _closed(await service.close_account(caller, user_id, query.reason, tells_audit=True))


@router.get(
    f"/accounts/{{user_id:{_ACCOUNT}}}",
    summary="Balance",
    responses=document_refusals([InstantInTheFuture, AccountNotFound, TooManyReports]),
)
async def balance(
    service: _Service,
    user_id: _UserId,
    query: Annotated[schemas.BalanceQuery, Query()],
    caller: Caller = require(*READ),
) -> schemas.BalanceBody:
    """Available and held points and their sum, now or at a past instant (`at`), its whole millisecond included."""
    if query.at is not None:
        return schemas.BalanceBody.of(await service.balance_at(caller, user_id, query.at))
    return schemas.BalanceBody.of(await service.balance_of(caller.tenant, user_id))


@router.post(
    "/credits/import",
    summary="Earn points in bulk",
    response_class=LinesResponse,
    max_body_size=sys.maxsize,
    openapi_extra=DOCUMENTED_BODY,
    responses={
        200: {"description": "One outcome for each line", "content": {NDJSON: {"schema": {"type": "string"}}}},
        **document_refusals([UnreadableList, MalformedHeader, UnsupportedMediaType]),
    },
)
async def import_credits(
    service: _Service,
    request: Request,
    query: Annotated[schemas.ImportQuery, Query()],
    caller: Caller = require(ADMIN),
) -> LinesResponse:
    """Any number of lines `{user_id, points, reference, reason}`, or of CSV with these columns; each gets a line as
    its answer, and the last one is a summary. Lines of one account are booked in their order."""
    blocks = await importing.CREDITS.sent_with(request)
    rehearsal = service.rehearsal(caller.tenant, open_accounts=query.open_accounts) if query.dry_run else None
    outcomes = importing.import_credits(service, caller, blocks, open_accounts=query.open_accounts, rehearsal=rehearsal)
    return LinesResponse(outcomes, NDJSON)


@internal.get(f"/tenants/{{tenant}}/accounts/{{user_id:{IDENTIFIER}}}/entries")
async def internal_statement(
    service: _Service,
    tenant: Tenant,
    user_id: _UserId,
    page: Annotated[schemas.StatementQuery, Query()],
    _service_name: Annotated[str, require_service("partner-onboarding")],
) -> schemas.StatementBody:
    """For the person's own page."""
    found = await service.statement_of(
        tenant, user_id, reader=f"person:{user_id}", cursor=page.cursor, limit=page.limit
    )
    return schemas.StatementBody.of(found)


@internal.get(f"/tenants/{{tenant}}/accounts/{{user_id:{IDENTIFIER}}}")
async def internal_balance(
    service: _Service,
    tenant: Tenant,
    user_id: _UserId,
    _service_name: Annotated[str, require_service("partner-onboarding")],
) -> schemas.BalanceBody:
    return schemas.BalanceBody.of(await service.balance_of(tenant, user_id))


@internal.post(f"/tenants/{{tenant}}/accounts/{{user_id:{IDENTIFIER}}}/close")
async def close_internally(
    service: _Service,
    tenant: Tenant,
    user_id: _UserId,
    body: schemas.CloseQuery,
    service_name: Annotated[str, require_service("partner-onboarding")],
) -> schemas.ClosedAccountBody:
    """For a person who has deleted the own account."""
    closer = Caller(service_name, tenant, frozenset(), subject=user_id)
    # partner-onboarding has written down itself that the person left.
    return _closed(await service.close_account(closer, user_id, body.reason, tells_audit=False))


async def _balances(call: HotCall[schemas.UsersBody]) -> Answer:
    """The balances of many users, and those who have no account."""
    user_ids = call.body.user_ids
    found = await call.part(AccountService).balances_of(call.path_parameter, user_ids)
    balances = [schemas.balance_body(balance) for balance in found.values()]
    return Answer.of(
        200, {"balances": balances, "absent": [one for one in dict.fromkeys(user_ids) if one not in found]}
    )


INTERNAL_BALANCES: Final = HotRoute(
    method="POST",
    path="/internal/tenants/{tenant}/balances",
    name="internal_balances",
    tag="internal",
    summary="The balances of many users, and those who have no account",
    services=("sso-issuer",),
    operations=HotOperation(
        _balances,
        body=schemas.UsersBody,
        answers={200: Answered("Found", schemas.BalancesBody)},
        takes_key=False,
    ),
)


def _closed(closed: ClosedAccount) -> schemas.ClosedAccountBody:
    state: Literal["closing", "closed"] = "closing" if closed.is_closing else "closed"
    return schemas.ClosedAccountBody(user_id=closed.user_id, state=state, lapsed=closed.lapsed)


async def _post(
    service: AccountService, user_id: str, body: schemas.PostBody, points: int, key: IdempotencyKey, caller: Caller
) -> Response:
    answer = await service.post(
        caller,
        user_id=user_id,
        points=points,
        reference=body.reference,
        reason=body.reason,
        shape=_shape,
        key=key,
    )
    return answer.response()


def _shape(settled: Settled) -> Answer:
    if isinstance(settled.outcome, Refusal):
        return Answer.of_refusal(settled.outcome)
    if not isinstance(settled.outcome, Entry):
        raise TypeError(f"a credit or debit ends in an entry, not in {type(settled.outcome).__name__}")
    return Answer.of(200 if settled.repeated else 201, schemas.entry_body(settled.outcome))
