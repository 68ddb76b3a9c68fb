"""What happens to points: a vendor hears of its own transactions, the platform of all of its tenant.

The events of a batch are one row for each vendor, written by the statement that writes the batch.
"""

from collections.abc import Mapping
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
#: Columns of a recorded transaction.
_ROW: Final = len(Transaction._fields) - 1
_TIMES: Final = ("created_at", "expires_at", "ended_at")
_OF_KIND: Final = {Kind.CREDIT: "points.credited", Kind.DEBIT: "points.debited"}


def _vendor(caller: Caller) -> str:
    return caller.vendor


def transaction_moved(transaction: Transaction) -> NewEvent | None:
    """The transaction has come to its present state; None for a state that holds no points and never did."""
    kind = _OF_STATE.get(transaction.state)
    if kind is None:
        return None
    at = transaction.created_at if transaction.state is State.HELD else transaction.ended_at
    # The row, not the body: to make and store a body took the hot path twice as long, and few are read.
    return NewEvent(kind, transaction[1:], transaction.vendor_id, at)


def points_refunded(transaction: Transaction, refund_id: str, points: int, at: datetime) -> NewEvent:
    """Points of a confirmed transaction were given back."""
    return NewEvent("points.refunded", (*transaction[1:], refund_id, points), transaction.vendor_id, at)


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


def _body(recorded: Any) -> Mapping[str, Any]:
    """What callers read of a recorded event: of a transaction's row in JSON without its tenant; else as it is."""
    if not isinstance(recorded, list):
        return dict(recorded)
    row = dict(zip(Transaction._fields[1:], recorded, strict=False))
    times = {name: datetime.fromisoformat(row[name]) for name in _TIMES if row[name] is not None}
    body = transaction_body(Transaction(**{**row, **times, "tenant": "", "state": State(row["state"])}))
    if len(recorded) > _ROW:
        refund_id, points = recorded[_ROW:]
        body |= {"refundid": refund_id, "refundedpoints": points}
    return body


TOPIC: Final = Topic(
    "points",
    (*_OF_STATE.values(), "points.refunded", *_OF_KIND.values()),
    (Audience(("points:read", "points:admin")), Audience(("points:redeem",), _vendor)),
    _body,
)
