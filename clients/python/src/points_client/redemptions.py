"""Points of a user, from the hold to the confirm: one operation each, or a whole order with all that may go wrong."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

from points_client.exchanges import Act, Answer, Exchange, Request, Unanswered, asked, once, told
from points_client.schemas import ChangedTransaction, FoundTransaction, Transactions, VendorBalance


class State(StrEnum):
    """Where a transaction stands at the platform."""

    HELD = "held"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """Where an order stands in your shop. Each is written down before the call that follows from it."""

    PLACED = "placed"
    """About to hold the points; nobody knows whether the platform has heard of it."""
    HELD = "held"
    """The points are held; whether you can deliver is not decided."""
    CONFIRMING = "confirming"
    """You can deliver: the points are to be deducted."""
    ROLLING_BACK = "rolling_back"
    """You cannot, or nobody waits any more: the points are to be given back."""
    CONFIRMED = "confirmed"
    RELEASED = "released"
    """The user has the points back, or they were never held."""
    REFUSED = "refused"
    """Too few points, or no such user."""


OPEN: Final = frozenset({Step.PLACED, Step.HELD, Step.CONFIRMING, Step.ROLLING_BACK})


@dataclass(frozen=True, slots=True)
class Order:
    """One redemption. Its id is the transaction id at the platform, and good for this redemption alone, for ever."""

    order_id: str
    user_id: str
    points: int
    description: str
    step: Step = Step.PLACED
    code: str = ""
    """Why it was refused."""

    @property
    def is_open(self) -> bool:
        return self.step in OPEN


class Journal(Protocol):
    """Your database. `save` returns when the order is on disk: then a crash at any instant loses nothing.

    With `AsyncPoints` it may be a coroutine function, and so may `can_deliver`.
    """

    def save(self, order: Order) -> object: ...


#: Whether you can fulfil the order.
CanDeliver = Callable[[Order], bool | Awaitable[bool]]


def hold(order_id: str, user_id: str, points: int, description: str) -> Exchange[ChangedTransaction]:
    """Phase 1: sets the points aside.

    Raises:
        Refused: `insufficient_points`, `invalid_user`, or the transaction stands elsewhere already.
        Unanswered: ask `look_up` before you decide anything.
    """
    return _change("commit", order_id, user_id, pointstodeduct=points, description=description)


def confirm(order_id: str, user_id: str, points: int | None = None) -> Exchange[ChangedTransaction]:
    """Phase 2: deducts what is held, or a part of it, and releases the rest. Raises as `hold`."""
    more = {} if points is None else {"pointstodeduct": points}
    return _change("confirm", order_id, user_id, **more)


def roll_back(order_id: str, user_id: str) -> Exchange[ChangedTransaction]:
    """Phase 2: gives back what is held. A hold that arrives later is refused. Raises as `hold`."""
    return _change("rollback", order_id, user_id)


def refund(order_id: str, user_id: str, refund_id: str, points: int) -> Exchange[ChangedTransaction]:
    """Gives points back after the confirm; all refunds together never exceed what was deducted. Raises as `hold`."""
    body = {"userid": user_id, "transactionid": order_id, "refundid": refund_id, "points": points}
    return told(ChangedTransaction, once("POST", "/eai/v1/points?refund", body, order_id, refund_id))


def look_up(order_id: str) -> Exchange[FoundTransaction]:
    """How the transaction stands: what to ask when an answer was lost. Raises as `hold`."""
    return told(FoundTransaction, Request("GET", f"/eai/v1/points/{quote(order_id, safe='')}"))


def balance(user_id: str) -> Exchange[int]:
    """Points that the user may spend at this moment. Raises as `hold`."""
    found = yield from told(VendorBalance, Request("GET", f"/eai/v1/balances/{quote(user_id, safe='')}"))
    return found["available"]


def page_of_transactions(cursor: str | None, **filters: str) -> Exchange[Transactions]:
    """A page of your transactions: `{transactions, next_cursor}`. Filters: `state`, `since`, `updated_since`."""
    query = urlencode(filters if cursor is None else {**filters, "cursor": cursor})
    return told(Transactions, Request("GET", f"/eai/v1/points?{query}" if query else "/eai/v1/points"))


def redeem(order: Order, journal: Journal, can_deliver: CanDeliver) -> Exchange[Order]:
    """Takes an order from its hold to its end.

    Args:
        can_deliver: asked once the points are held. Its answer is written down before the platform hears of it.

    Returns:
        The order as it ended. If it is still open, the platform is silent: call `resume` later.
    """
    yield from _save(journal, order)
    return (yield from _drive(order, journal, can_deliver))


def resume(order: Order, journal: Journal) -> Exchange[Order]:
    """Finishes an open order after a crash or a silence: call it for each at the start, and every minute.

    Nobody waits for an order whose hold was never decided on, so it is rolled back. A decision that was written down
    is carried out.
    """
    if order.step in {Step.PLACED, Step.HELD}:
        order = replace(order, step=Step.ROLLING_BACK)
        yield from _save(journal, order)
    return (yield from _drive(order, journal, lambda _: False))


def _drive(order: Order, journal: Journal, can_deliver: CanDeliver) -> Exchange[Order]:
    while order.is_open:
        before = order.step
        try:
            order = yield from _step(order, can_deliver)
        except Unanswered:
            return order
        if order.step is before:
            # The answer settles nothing (401, 403 …): it stays open until `resume`.
            return order
        yield from _save(journal, order)
    return order


def _step(order: Order, can_deliver: CanDeliver) -> Exchange[Order]:
    if order.step is Step.HELD:
        can = yield Act(lambda: can_deliver(order))
        return replace(order, step=Step.CONFIRMING if can else Step.ROLLING_BACK)
    operation, more = {
        Step.PLACED: ("commit", {"pointstodeduct": order.points, "description": order.description}),
        Step.CONFIRMING: ("confirm", {}),
        Step.ROLLING_BACK: ("rollback", {}),
    }[order.step]
    try:
        answer = yield from asked(_request(operation, order.order_id, order.user_id, more))
    except Unanswered:
        # The state decides, so it is asked for. If that is not answered either, the order stays open.
        answer = yield from asked(Request("GET", f"/eai/v1/points/{quote(order.order_id, safe='')}"))
        operation = "look up"
    return _learnt(order, answer, operation)


def _learnt(order: Order, answer: Answer, operation: str) -> Order:
    """What the order has become. Wherever the platform names a state, that decides."""
    body = answer.body
    match body.get("state"):
        case State.HELD if order.step is Step.PLACED:
            return replace(order, step=Step.HELD)
        case State.CONFIRMED:
            return replace(order, step=Step.CONFIRMED)
        case State.ROLLED_BACK | State.EXPIRED | State.CANCELLED:
            return replace(order, step=Step.RELEASED)
        case State.REJECTED:
            return replace(order, step=Step.REFUSED, code="insufficient_points")
    code = body.get("code")
    if operation == "commit" and code in {"insufficient_points", "invalid_user"}:
        return replace(order, step=Step.REFUSED, code=str(code))
    if code == "transaction_not_found":
        if operation == "rollback":
            # And a hold that is still on its way is refused when it arrives.
            return replace(order, step=Step.RELEASED)
        if order.step is Step.PLACED:
            # The hold may still arrive, and nobody will wait for it.
            return replace(order, step=Step.ROLLING_BACK)
    return order


def _save(journal: Journal, order: Order) -> Exchange[None]:
    yield Act(lambda: journal.save(order))


def _change(operation: str, order_id: str, user_id: str, **more: Any) -> Exchange[ChangedTransaction]:
    return told(ChangedTransaction, _request(operation, order_id, user_id, more))


def _request(operation: str, order_id: str, user_id: str, more: Mapping[str, Any]) -> Request:
    body = {"userid": user_id, "transactionid": order_id, **more}
    return once("POST", f"/eai/v1/points?{operation}", body, order_id)
