"""An order and what may become of it. Pure decisions: nothing here reads, writes or calls."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

LONGEST_STORY = 40


class OrderState(StrEnum):
    """The way of an order. Each is written down before the call it leads to."""

    PLACED = "placed"
    """About to ask for the hold; whether the platform heard it is not known."""
    HELD = "held"
    """The points are held; whether the reward can be had is not known."""
    CONFIRMING = "confirming"
    """The reward is set aside; the points are to be taken."""
    ROLLING_BACK = "rolling_back"
    """The reward cannot be had (or nobody waits for it any more); the points are to be given back."""

    FULFILLED = "fulfilled"
    OUT_OF_STOCK = "out_of_stock"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


OPEN = {OrderState.PLACED, OrderState.HELD, OrderState.CONFIRMING, OrderState.ROLLING_BACK}

UNANSWERED = "unanswered"


@dataclass(frozen=True)
class Step:
    """One event of an order, for the person and for support."""

    name: str
    """placed, hold, stock, confirm, rollback, ask (the transaction was looked up), or event (the platform said so)."""
    result: str
    at: float
    call: str = ""
    answer: str = ""
    attempts: int = 0


@dataclass(frozen=True)
class Order:
    """One reward for one person. The order id is also the transaction id at the platform."""

    order_id: str
    user_id: str
    reward_id: str
    points: int
    description: str
    placed_at: float
    state: OrderState = OrderState.PLACED
    reason: str = ""
    """Why it is rolled back or was refused: out_of_stock, unanswered, or the platform's code."""
    taken: int = 0
    """Points that this order keeps from the person's balance, as far as the shop knows."""
    steps: tuple[Step, ...] = ()

    @property
    def finished(self) -> bool:
        return self.state not in OPEN

    @property
    def outcome(self) -> str:
        return self.state.value if self.finished else "pending"


class Heard(Protocol):
    """What `learn` wants to know of an answer of the platform."""

    @property
    def status(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def code(self) -> str: ...


def decide_stock(order: Order, *, available: bool) -> Order:
    """After the hold: the shop commits itself to one of the two ways out."""
    if available:
        return replace(order, state=OrderState.CONFIRMING)
    return replace(order, state=OrderState.ROLLING_BACK, reason="out_of_stock")


def learn(order: Order, heard: Heard, *, operation: str) -> Order:
    """What the order has become, now that the platform answered `operation` (or a look-up, "ask"; or said so
    by itself, "event").

    The platform's `state` decides wherever it is told. An answer that settles nothing (401, 403, a state unknown
    to the shop) leaves the order as it is: it stays open and is asked about again.
    """
    match heard.state:
        case "held" if order.state is OrderState.PLACED:
            return replace(order, state=OrderState.HELD, taken=order.points)
        case "confirmed":
            return replace(order, state=OrderState.FULFILLED, taken=order.points)
        case "rejected":
            return _refused(order, "insufficient_points")
        case "rolled_back" | "cancelled":
            return _released(order, OrderState.CANCELLED)
        case "expired":
            return _released(order, OrderState.EXPIRED)
    if heard.status == 404 and heard.code == "transaction_not_found":
        return _not_found(order, operation)
    if operation == "hold" and heard.code in {"insufficient_points", "invalid_user"}:
        return _refused(order, heard.code)
    return order


def _not_found(order: Order, operation: str) -> Order:
    if operation == "rollback":  # And now a commit that is still on its way cannot hold anything either.
        return _released(order, OrderState.CANCELLED)
    if order.state is OrderState.PLACED:
        # The commit may yet arrive. Nobody waits for the reward any more, so it must not hold points when it does.
        return replace(order, state=OrderState.ROLLING_BACK, reason=UNANSWERED)
    return order


def _released(order: Order, otherwise: OrderState) -> Order:
    out_of_stock = order.reason == "out_of_stock"
    return replace(order, state=OrderState.OUT_OF_STOCK if out_of_stock else otherwise, taken=0)


def _refused(order: Order, code: str) -> Order:
    return replace(order, state=OrderState.REFUSED, reason=code, taken=0)


def tell(order: Order, step: Step) -> Order:
    """The order with one more step in its story; what repeats itself is counted, not told again."""
    *before, last = order.steps or (None,)
    if last is not None and (last.name, last.result, last.answer) == (step.name, step.result, step.answer):
        merged = replace(step, attempts=last.attempts + step.attempts)
        return replace(order, steps=(*before, merged))
    return replace(order, steps=(*order.steps, step)[-LONGEST_STORY:])
