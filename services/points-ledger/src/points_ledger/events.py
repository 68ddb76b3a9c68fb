"""What happens to points: a vendor hears of its own transactions, the platform of all of its tenant.

The events of a batch are one row of the outbox for each tenant, written by the statement that writes the batch.
"""

from datetime import datetime
from typing import Any, Final

from shared.callers import Caller
from shared.events.domain import Audience, NewEvent, Topic
from shared.times import iso

from points_ledger.domain.accounts import Entry, Kind
from points_ledger.domain.transactions import State, Transaction
from points_ledger.eai.schemas import transaction_body

#: State that a transaction has come to → type of the event. What was refused is no event.
_OF_STATE: Final = {
    State.HELD: "points.held",
    State.CONFIRMED: "points.confirmed",
    State.ROLLED_BACK: "points.rolled_back",
    State.EXPIRED: "points.expired",
}
_OF_KIND: Final = {Kind.CREDIT: "points.credited", Kind.DEBIT: "points.debited"}


def _vendor(caller: Caller) -> str:
    return caller.vendor


TOPIC: Final = Topic(
    "points",
    (*_OF_STATE.values(), "points.refunded", *_OF_KIND.values()),
    (Audience(("points:read", "points:admin")), Audience(("points:redeem",), _vendor)),
)


def transaction_moved(transaction: Transaction) -> NewEvent | None:
    """The transaction has come to its present state; None for a state that holds no points and never did."""
    kind = _OF_STATE.get(transaction.state)
    if kind is None:
        return None
    at = transaction.created_at if transaction.state is State.HELD else transaction.ended_at
    return NewEvent(kind, transaction_body(transaction), transaction.vendor_id, at)


def points_refunded(transaction: Transaction, refund_id: str, points: int, at: datetime) -> NewEvent:
    """Points of a confirmed transaction were given back."""
    data = transaction_body(transaction) | {"refundid": refund_id, "refundedpoints": points}
    return NewEvent("points.refunded", data, transaction.vendor_id, at)


def entry_made(entry: Entry) -> NewEvent | None:
    """The platform credited or debited an account; None for the entries that transactions make."""
    kind = _OF_KIND.get(entry.kind)
    if kind is None:
        return None
    data: dict[str, Any] = {
        "user_id": entry.user_id,
        "points": abs(entry.points),
        "balance": entry.balance,
        "reference": entry.reference,
        "reason": entry.reason,
        "created_at": iso(entry.created_at),
    }
    return NewEvent(kind, data, None, entry.created_at)
