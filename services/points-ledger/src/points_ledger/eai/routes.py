"""`/eai/v1/points`: parse, one use case, shape.

The POST is a hot route with pydantic on the raw body: the framework's handling of a request would take as long as
all the rest (see the measurements in the service's README).
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ValidationError
from shared.callers import Caller, Callers, document_credentials, require
from shared.errors import Malformed, Refusal, UnsupportedMediaType
from shared.hot_routes import header_of
from shared.idempotency import Answer, RequestKey, fingerprint_of, parse_key
from shared.identifiers import MAX_IDENTIFIER_CHARACTERS, is_identifier
from shared.problems import headers_of, request_id_of, status_of
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from points_ledger.domain.transactions import Transaction
from points_ledger.eai import schemas
from points_ledger.ledger import Outcome, Shape
from points_ledger.service import PointsService

PATH = "/eai/v1/points"
SCOPE = "points:redeem"
B = TypeVar("B", bound=BaseModel)

router = APIRouter(prefix=PATH, tags=["EAI"], dependencies=document_credentials())


@router.get("", summary="The vendor's transactions, page by page")
async def list_transactions(
    request: Request,
    page: Annotated[schemas.TransactionsQuery, Query()],
    caller: Caller = require(SCOPE),
) -> JSONResponse:
    """For reconciliation, oldest first. Follow `next_cursor` until it is null; continue another day from
    `resume_cursor`."""
    service: PointsService = request.app.state.service
    found = await service.transactions_of(
        caller, state=page.state, since=page.since, cursor=page.cursor, limit=page.limit
    )
    return JSONResponse(
        {
            "status": "success",
            "transactions": [schemas.transaction_fields(transaction) for transaction in found.transactions],
            "next_cursor": found.next_cursor,
            "resume_cursor": found.resume_cursor,
        }
    )


@router.get("/{transactionid:path}", summary="Where a transaction stands")
async def find_transaction(request: Request, transactionid: str, caller: Caller = require(SCOPE)) -> JSONResponse:
    """State, points and every time stamp, for a vendor that lost an answer."""
    if not is_identifier(transactionid):
        raise Malformed(f"a transactionid has 1 to {MAX_IDENTIFIER_CHARACTERS} printable characters")
    service: PointsService = request.app.state.service
    return JSONResponse(schemas.transaction_body(await service.find_transaction(caller, transactionid)))


async def change_points(request: Request, body: bytes) -> Answer:
    """The four operations that change points; the query says which one."""
    scope = request.scope
    callers: Callers = scope["app"].state.callers
    caller = await callers.authenticate(scope)
    caller.need(SCOPE)
    name = operation_of(scope["query_string"])
    scope["state"]["route"] = _ROUTES[name]
    _check_is_json(scope)
    key = header_of(scope, b"idempotency-key")
    request_key = None
    if key is not None:
        # The fingerprint uses the operation's name, since ?commit, ?commit= and ?commit=1 are the same request.
        request_key = RequestKey(parse_key(key), fingerprint_of("POST", PATH, name.encode(), body))
    return await OPERATIONS[name](_Call(scope["app"].state.service, caller, body, request_key))


class _Call(NamedTuple):
    service: PointsService
    caller: Caller
    body: bytes
    key: RequestKey | None


def _shape(message: str, points_of: Callable[[Transaction], int]) -> Shape:
    def shape(outcome: Outcome, _repeated: bool) -> Answer:
        if isinstance(outcome, Refusal):
            return Answer(status_of(outcome), Answer.of(0, failed_body(outcome)).body, headers_of(outcome))
        if not isinstance(outcome, Transaction):
            raise TypeError(f"a vendor's operation ends in a transaction, not in {type(outcome).__name__}")
        return Answer.of(200, schemas.success_body(outcome, message, points_of(outcome)))

    return shape


_HELD = _shape("points committed for transaction", lambda transaction: transaction.points)
_DEDUCTED = _shape("points successfully deducted", lambda transaction: transaction.deducted)
_ROLLED_BACK = _shape("points successfully rolled back", lambda transaction: transaction.points)


async def _commit(call: _Call) -> Answer:
    body = _parse(schemas.CommitBody, call.body)
    return await call.service.hold_points(
        call.caller,
        user_id=body.userid,
        points=body.pointstodeduct,
        transaction_id=body.transactionid,
        description=body.description,
        shape=_HELD,
        key=call.key,
    )


async def _confirm(call: _Call) -> Answer:
    body = _parse(schemas.ConfirmBody, call.body)
    return await call.service.confirm_points(
        call.caller,
        user_id=body.userid,
        transaction_id=body.transactionid,
        points=body.points,
        shape=_DEDUCTED,
        key=call.key,
    )


async def _rollback(call: _Call) -> Answer:
    body = _parse(schemas.RollbackBody, call.body)
    return await call.service.roll_back_points(
        call.caller,
        user_id=body.userid,
        transaction_id=body.transactionid,
        shape=_ROLLED_BACK,
        key=call.key,
    )


async def _refund(call: _Call) -> Answer:
    body = _parse(schemas.RefundBody, call.body)
    return await call.service.refund_points(
        call.caller,
        user_id=body.userid,
        transaction_id=body.transactionid,
        refund_id=body.refundid,
        points=body.points,
        shape=_shape("points successfully refunded", lambda _: body.points),
        key=call.key,
    )


Operation = Callable[[_Call], Awaitable[Answer]]
OPERATIONS: dict[str, Operation] = {
    "commit": _commit,
    "confirm": _confirm,
    "rollback": _rollback,
    "refund": _refund,
}
_ROUTES = {name: f"{PATH}?{name}" for name in OPERATIONS}
_USUAL = {f"{name}{ending}".encode(): name for name in OPERATIONS for ending in ("", "=", "=1")}


def operation_of(query: bytes) -> str:
    """`?commit`, `?commit=` and `?commit=1` are the same.

    Raises:
        Malformed: none, two, or one with another value.
    """
    usual = _USUAL.get(query)
    if usual is not None:
        return usual
    named = [
        (name, value)
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        if name in OPERATIONS
    ]
    if len(named) != 1 or named[0][1] not in {"", "1"}:
        raise Malformed(
            "Name exactly one operation in the query: ?commit, ?confirm, ?rollback or ?refund.",
            code="unknown_operation",
        )
    return named[0][0]


def failed_response(refusal: Refusal, request: Request) -> Response:
    """A refusal in the shape of the source document."""
    body = failed_body(refusal)
    if status_of(refusal) >= 500:
        body["request_id"] = request_id_of(request)
    return JSONResponse(body, status_of(refusal), headers_of(refusal))


def failed_body(refusal: Refusal) -> dict[str, Any]:
    return {"status": "failed", "message": refusal.message, "code": refusal.stable_code} | refusal.members


def _parse(model: type[B], body: bytes) -> B:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Malformed("the body is not JSON", code="malformed_json") from None
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise Malformed(f"{field}: {first['msg'].removeprefix('Value error, ')}", field=field) from None


def _check_is_json(scope: Scope) -> None:
    content_type = header_of(scope, b"content-type") or ""
    if content_type == "application/json":
        return
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("the body must be application/json")
