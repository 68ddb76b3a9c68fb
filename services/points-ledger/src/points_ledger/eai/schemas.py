"""Bodies between vendors and the ledger, with the names of the source document.

The document spells fields in lower case. The ledger accepts camel case too, since vendors also use it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from shared.errors import Refusal
from shared.identifiers import Identifier, PlainText
from shared.paging import Cursor, NextCursor
from shared.problems import PROBLEM_SCHEMA, refusal_response, status_of
from shared.times import Instant, Timestamp, iso

from points_ledger.accounts.queries import Balance
from points_ledger.domain.accounts import MAX_POINTS, Account, Entry
from points_ledger.domain.transactions import State, Transaction

#: State → the name of the time at which a transaction came to it.
_ENDED: Final = {
    State.CONFIRMED: "confirmedat",
    State.ROLLED_BACK: "rolledbackat",
    State.EXPIRED: "expiredat",
    State.REJECTED: "rejectedat",
    State.CANCELLED: "cancelledat",
}

Points = Annotated[int, Field(strict=True, gt=0, le=MAX_POINTS)]


class OperationBody(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    userid: Identifier = Field(validation_alias=AliasChoices("userid", "userId"))
    transactionid: Identifier = Field(validation_alias=AliasChoices("transactionid", "transactionId"))


class CommitBody(OperationBody):
    pointstodeduct: Points = Field(validation_alias=AliasChoices("pointstodeduct", "pointsToDeduct"))
    description: Annotated[PlainText, Field(description="Kept for good with the transaction: no personal data.")]


class ConfirmBody(OperationBody):
    # By a factory, which OpenAPI does not show: clients that are generated from it send every default that they see.
    pointstodeduct: Points = Field(
        default_factory=lambda: MAX_POINTS,
        validation_alias=AliasChoices("pointstodeduct", "pointsToDeduct"),
        description="Left out, all that is held is deducted; with less, the rest is released. Never null.",
    )

    @property
    def points(self) -> int | None:
        """None where all that is held is meant."""
        return self.pointstodeduct if "pointstodeduct" in self.model_fields_set else None


class RollbackBody(OperationBody):
    pass


class RefundBody(OperationBody):
    refundid: Identifier = Field(validation_alias=AliasChoices("refundid", "refundId"))
    points: Points


class ChangedBody(BaseModel):
    """The source's success, and beside it where the transaction stands."""

    status: Literal["success"]
    message: str
    transactionid: str
    state: State
    points: int
    available: Annotated[int | None, Field(description="Points that the user may still spend.")] = None
    refundid: Annotated[str | None, Field(description="Of a refund.")] = None
    expiresat: Annotated[Timestamp | None, Field(description="While held.")] = None


class FailedBody(BaseModel):
    """A refusal in the shape of the source document."""

    status: Literal["failed"]
    message: str
    code: Annotated[str, Field(description="Stable; programs decide by it.")]
    transactionid: str | None = None
    state: Annotated[str | None, Field(description="Where the transaction stands.")] = None
    available: Annotated[int | None, Field(description="With `insufficient_points`: what there is.")] = None
    field: Annotated[str | None, Field(description="What is malformed, or differs from the commit.")] = None
    request_id: Annotated[str | None, Field(description="Tell it to the operators.")] = None


class TransactionsQuery(BaseModel):
    """Selects transactions by present state, time of creation and cursor."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = None
    since: Annotated[Instant | None, Field(description="Created from then on, with a zone; `+` is `%2B` here.")] = None
    updated_since: Annotated[
        Instant | None, Field(description="Changed from then on; the list is then in the order of changes.")
    ] = None
    cursor: Cursor = None
    limit: int = Field(100, ge=1, le=1000)


class TransactionBody(BaseModel):
    """All that a vendor may know of a transaction. Times that have not come yet are left out."""

    transactionid: str
    userid: str
    state: State
    points: Annotated[int, Field(description="Deducted, once confirmed; else what was asked for.")]
    pointsrequested: int
    pointsheld: int
    pointsdeducted: int
    pointsrefunded: int
    description: str
    createdat: Timestamp
    heldat: Timestamp | None = None
    expiresat: Timestamp | None = None
    confirmedat: Timestamp | None = None
    rolledbackat: Timestamp | None = None
    expiredat: Timestamp | None = None
    rejectedat: Timestamp | None = None
    cancelledat: Timestamp | None = None


class RefundShown(BaseModel):
    refundid: str
    points: int
    refundedat: Timestamp


class FoundTransactionBody(TransactionBody):
    """The answer to a look-up."""

    status: Literal["success"]
    refunds: Annotated[list[RefundShown], Field(description="Oldest first.")]


class VendorBalanceBody(BaseModel):
    """All that a vendor sees of an account."""

    status: Literal["success"]
    userid: str
    available: int
    as_of: Timestamp


class TransactionsBody(BaseModel):
    """A page, oldest first."""

    status: Literal["success"]
    transactions: list[TransactionBody]
    next_cursor: NextCursor
    resume_cursor: Annotated[str | None, Field(description="From here a vendor asks again another day.")]


def changed_body(transaction: Transaction, message: str, points: int, account: Account | None) -> dict[str, Any]:
    """As `ChangedBody`."""
    body: dict[str, Any] = {
        "status": "success",
        "message": message,
        "transactionid": transaction.transaction_id,
        "state": transaction.state.value,
        "points": points,
    }
    if account is not None:
        body["available"] = account.available
    if transaction.state is State.HELD and transaction.expires_at is not None:
        body["expiresat"] = iso(transaction.expires_at)
    return body


def failed_body(refusal: Refusal, request_id: str | None = None, transaction_id: str | None = None) -> dict[str, Any]:
    """As `FailedBody`.

    Args:
        transaction_id: what the request is about, for a refusal that does not know it.
    """
    body = {"status": "failed", "message": refusal.message, "code": refusal.stable_code} | refusal.members
    if transaction_id is not None:
        body.setdefault("transactionid", transaction_id)
    errors = body.pop("errors", None)
    if errors:
        body["field"] = errors[0]["field"]
    if request_id is not None and status_of(refusal) >= 500:
        body["request_id"] = request_id
    return body


def document_failures(description: str, codes: list[str]) -> dict[str, Any]:
    """How refusals with these codes look, for OpenAPI."""
    return refusal_response(description, codes, "application/json", FailedBody.__name__)


def add_failures(document: dict[str, Any]) -> None:
    """Adds to the OpenAPI document what refusals of EAI look like, once."""
    schema = FailedBody.model_json_schema(mode="serialization")
    schema["properties"]["code"] = PROBLEM_SCHEMA["properties"]["code"]
    document["components"]["schemas"][FailedBody.__name__] = schema


#: How any refusal looks, for the routes' OpenAPI.
FAILED: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": document_failures("Refused", []),
    "5XX": document_failures("Failed", []),
}


def found_body(transaction: Transaction, refunds: Sequence[Entry]) -> dict[str, Any]:
    """As `FoundTransactionBody`."""
    shown = [
        {
            "refundid": refund.reference.partition("\x1f")[2],
            "points": refund.points,
            "refundedat": iso(refund.created_at),
        }
        for refund in refunds
    ]
    return {"status": "success", **transaction_body(transaction), "refunds": shown}


def balance_body(balance: Balance) -> dict[str, Any]:
    """As `VendorBalanceBody`."""
    account = balance.account
    return {
        "status": "success",
        "userid": account.user_id,
        "available": account.available,
        "as_of": iso(balance.as_of),
    }


def transaction_body(transaction: Transaction) -> dict[str, Any]:
    """As `TransactionBody`."""
    state = transaction.state
    created_at = iso(transaction.created_at)
    body: dict[str, Any] = {
        "transactionid": transaction.transaction_id,
        "userid": transaction.user_id,
        "state": state.value,
        "points": transaction.deducted if state is State.CONFIRMED else transaction.points,
        "pointsrequested": transaction.points,
        "pointsheld": transaction.points if state is State.HELD else 0,
        "pointsdeducted": transaction.deducted,
        "pointsrefunded": transaction.refunded,
        "description": transaction.description,
        "createdat": created_at,
    }
    # A rejected or cancelled transaction never held points.
    if transaction.expires_at is not None and state is not State.REJECTED and state is not State.CANCELLED:
        body["heldat"] = created_at
        body["expiresat"] = iso(transaction.expires_at)
    if transaction.ended_at is not None and state in _ENDED:
        body[_ENDED[state]] = iso(transaction.ended_at)
    return body
