"""The operations of `POST /eai/v1/points`, one row each; the query names the one that is asked for.

A new one has its command in `domain.transactions`, its rule in `domain.decisions`, its body in `schemas`, and its
row here. The route, OpenAPI, and the names in log and metrics follow from the row.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from shared.callers import Caller
from shared.errors import Refusal
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer
from shared.problems import headers_of, request_id_of, status_of
from shared.request_frame import count_refusal
from starlette.requests import Request
from starlette.responses import Response

from points_ledger.domain.accounts import BalanceLimit, InsufficientPoints, InvalidUser
from points_ledger.domain.transactions import (
    Commit,
    Confirm,
    HoldExpired,
    NoPointsToRollBack,
    NotConfirmed,
    PointsAlreadyDeducted,
    Refund,
    RefundTooLarge,
    Rollback,
    TooManyOpenHolds,
    Transaction,
    TransactionCommand,
    TransactionMismatch,
    TransactionNotFound,
    TransactionRejected,
    TransactionRolledBack,
)
from points_ledger.eai import schemas
from points_ledger.eai.service import TransactionService
from points_ledger.orders import Settled

PATH: Final = "/eai/v1/points"
SCOPE: Final = "points:redeem"
B = TypeVar("B", bound=schemas.OperationBody)
#: Where a request keeps the id of its transaction, for refusals that are raised past the rule.
_TRANSACTION: Final = "transaction_id"


@dataclass(frozen=True, slots=True)
class _Row(Generic[B]):
    """What one operation takes, does and says.

    Args:
        points: those that the success tells of.
        told: fields of the body that the success tells again.
        refusals: those that the rule knows.
    """

    body: type[B]
    command: Callable[[Caller, B], TransactionCommand]
    message: str
    points: Callable[[Transaction, B], int]
    refusals: tuple[type[Refusal], ...]
    example: Mapping[str, Any]
    told: tuple[str, ...] = ()


_ROWS: Final[Mapping[str, _Row[Any]]] = {
    "commit": _Row(
        schemas.CommitBody,
        lambda caller, body: Commit(
            caller.tenant, caller.vendor, body.transactionid, body.userid, body.pointstodeduct, body.description
        ),
        "points committed for transaction",
        lambda transaction, _: transaction.points,
        (
            *(InsufficientPoints, InvalidUser, TransactionMismatch, PointsAlreadyDeducted, HoldExpired),
            *(TransactionRolledBack, TooManyOpenHolds),
        ),
        {
            "userid": "demo-user-1",
            "transactionid": "order-4711",
            "pointstodeduct": 250,
            "description": "redemption for Coffee mug",
        },
    ),
    "confirm": _Row(
        schemas.ConfirmBody,
        lambda caller, body: Confirm(caller.tenant, caller.vendor, body.transactionid, body.userid, body.points),
        "points successfully deducted",
        lambda transaction, _: transaction.deducted,
        (
            *(TransactionNotFound, TransactionMismatch, PointsAlreadyDeducted, HoldExpired, TransactionRejected),
            TransactionRolledBack,
        ),
        {"userid": "demo-user-1", "transactionid": "order-4711"},
    ),
    "rollback": _Row(
        schemas.RollbackBody,
        lambda caller, body: Rollback(caller.tenant, caller.vendor, body.transactionid, body.userid),
        "points successfully rolled back",
        lambda transaction, _: transaction.points,
        (TransactionNotFound, TransactionMismatch, PointsAlreadyDeducted, NoPointsToRollBack),
        {"userid": "demo-user-1", "transactionid": "order-4711"},
    ),
    "refund": _Row(
        schemas.RefundBody,
        lambda caller, body: Refund(
            caller.tenant, caller.vendor, body.transactionid, body.userid, body.refundid, body.points
        ),
        "points successfully refunded",
        lambda _, body: body.points,
        (TransactionNotFound, TransactionMismatch, NotConfirmed, RefundTooLarge, BalanceLimit),
        {"userid": "demo-user-1", "transactionid": "order-4711", "refundid": "return-1", "points": 50},
        told=("refundid",),
    ),
}


def _act(row: _Row[B]) -> Callable[[HotCall[B]], Awaitable[Answer]]:
    async def act(call: HotCall[B]) -> Answer:
        body = call.body
        call.scope["state"][_TRANSACTION] = body.transactionid

        def shape(settled: Settled) -> Answer:
            outcome = settled.outcome
            if isinstance(outcome, Transaction):
                points = row.points(outcome, body)
                success = schemas.changed_body(outcome, row.message, points, settled.account)
                return Answer.of(200, success | {name: getattr(body, name) for name in row.told})
            if isinstance(outcome, InsufficientPoints) and settled.account is not None:
                outcome.members["available"] = settled.account.available
            if isinstance(outcome, Refusal):
                count_refusal(outcome.stable_code)
                return _answer(outcome, schemas.failed_body(outcome))
            raise TypeError(f"a vendor's operation ends in a transaction, not in {type(outcome).__name__}")

        service = call.part(TransactionService)
        return await service.change(call.caller, row.command(call.caller, body), shape, call.key)

    return act


def failed_response(refusal: Refusal, request: Request) -> Response:
    """A refusal in the shape of the source document, with the transaction where it is known already."""
    transaction_id = request.scope["state"].get(_TRANSACTION)
    return _answer(refusal, schemas.failed_body(refusal, request_id_of(request), transaction_id)).response()


def _answer(refusal: Refusal, body: dict[str, Any]) -> Answer:
    return Answer(status_of(refusal), Answer.of(0, body).body, headers_of(refusal))


CHANGE_POINTS: Final = HotRoute(
    method="POST",
    path=PATH,
    name="change_points",
    tag="EAI",
    summary="Hold, deduct, release or refund points",
    description="Exactly one of the query parameters names the operation.",
    scopes=(SCOPE,),
    operations={
        name: HotOperation(
            _act(row),
            body=row.body,
            answers={200: Answered(row.message.capitalize(), schemas.ChangedBody)},
            refusals=row.refusals,
            example=row.example,
        )
        for name, row in _ROWS.items()
    },
    document=schemas.document_failures,
)
