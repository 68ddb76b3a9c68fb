"""Bodies between vendors and the ledger, with the names of the source document.

The document spells fields in lower case. The ledger accepts camel case too, since vendors also use it.
"""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from shared.identifiers import Identifier, PlainText
from shared.times import Instant, iso

from points_ledger.domain.accounts import MAX_POINTS
from points_ledger.domain.transactions import State, Transaction

Points = Annotated[int, Field(strict=True, gt=0, le=MAX_POINTS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OfTransaction(_Body):
    userid: Identifier = Field(validation_alias=AliasChoices("userid", "userId"))
    transactionid: Identifier = Field(validation_alias=AliasChoices("transactionid", "transactionId"))


class CommitBody(_OfTransaction):
    pointstodeduct: Points = Field(validation_alias=AliasChoices("pointstodeduct", "pointsToDeduct"))
    description: PlainText


class ConfirmBody(_OfTransaction):
    #: If it is left out, all held points are deducted. Null is refused.
    pointstodeduct: Points = Field(MAX_POINTS, validation_alias=AliasChoices("pointstodeduct", "pointsToDeduct"))

    @property
    def points(self) -> int | None:
        return self.pointstodeduct if "pointstodeduct" in self.model_fields_set else None


class RollbackBody(_OfTransaction):
    pass


class RefundBody(_OfTransaction):
    refundid: Identifier = Field(validation_alias=AliasChoices("refundid", "refundId"))
    points: Points


def success_body(transaction: Transaction, message: str, points: int) -> dict[str, Any]:
    """The success body of the source document, with the state of the transaction."""
    body: dict[str, Any] = {
        "status": "success",
        "message": message,
        "transactionid": transaction.transaction_id,
        "state": transaction.state.value,
        "points": points,
    }
    if transaction.state is State.HELD and transaction.expires_at is not None:
        body["expiresat"] = iso(transaction.expires_at)
    return body


class TransactionsQuery(BaseModel):
    """Selects transactions by present state, time of creation and cursor."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = None
    since: Instant | None = None
    cursor: str | None = Field(None, max_length=1000)
    limit: int = Field(100, ge=1, le=1000)


def transaction_body(transaction: Transaction) -> dict[str, Any]:
    """The answer to a look-up."""
    return {"status": "success"} | transaction_fields(transaction)


def transaction_fields(transaction: Transaction) -> dict[str, Any]:
    """All that a vendor may know of a transaction. Times that have not come yet are left out."""
    state = transaction.state
    # A rejected or cancelled transaction never held points.
    was_held = state not in {State.REJECTED, State.CANCELLED}
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
        "createdat": iso(transaction.created_at),
    }
    if was_held and transaction.expires_at is not None:
        body["heldat"] = iso(transaction.created_at)
        body["expiresat"] = iso(transaction.expires_at)
    ended_name = {
        State.CONFIRMED: "confirmedat",
        State.ROLLED_BACK: "rolledbackat",
        State.EXPIRED: "expiredat",
        State.REJECTED: "rejectedat",
        State.CANCELLED: "cancelledat",
    }.get(state)
    if ended_name is not None and transaction.ended_at is not None:
        body[ended_name] = iso(transaction.ended_at)
    return body
