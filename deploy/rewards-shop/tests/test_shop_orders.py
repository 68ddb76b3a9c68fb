"""What an answer makes of an order: every state against everything the platform can say. No I/O."""

from dataclasses import dataclass, replace

import pytest
from rewards_shop.orders import LONGEST_STORY, Order, OrderState, Step, decide_stock, learn, tell

PLACED = Order("id", "ada", "coffee", 250, "Redemption for coffee", 0.0)
HELD = replace(PLACED, state=OrderState.HELD, taken=250)
CONFIRMING = decide_stock(HELD, available=True)
SOLD_OUT = decide_stock(HELD, available=False)
ABANDONED = replace(PLACED, state=OrderState.ROLLING_BACK, reason="unanswered")


@dataclass(frozen=True)
class Heard:
    status: int
    state: str = ""
    code: str = ""


@pytest.mark.parametrize(
    ("order", "operation", "heard", "becomes", "taken"),
    [
        (PLACED, "hold", Heard(200, "held"), "held", 250),
        (PLACED, "hold", Heard(400, "rejected", "insufficient_points"), "refused", 0),
        (PLACED, "hold", Heard(400, "", "insufficient_points"), "refused", 0),
        (PLACED, "hold", Heard(404, "", "invalid_user"), "refused", 0),
        (PLACED, "hold", Heard(409, "cancelled", "transaction_rolled_back"), "cancelled", 0),
        (PLACED, "hold", Heard(409, "expired", "hold_expired"), "expired", 0),
        (PLACED, "hold", Heard(401), "placed", 0),
        (PLACED, "hold", Heard(403, "", "ip_not_allowed"), "placed", 0),
        (PLACED, "hold", Heard(400, "", "malformed"), "placed", 0),
        (PLACED, "ask", Heard(200, "held"), "held", 250),
        (PLACED, "ask", Heard(200, "rejected"), "refused", 0),
        (PLACED, "ask", Heard(404, "", "transaction_not_found"), "rolling_back", 0),
        (PLACED, "ask", Heard(404), "placed", 0),
        (PLACED, "ask", Heard(200, "a state of next year"), "placed", 0),
        (HELD, "ask", Heard(200, "held"), "held", 250),
        (HELD, "ask", Heard(200, "expired"), "expired", 0),
        (CONFIRMING, "confirm", Heard(200, "confirmed"), "fulfilled", 250),
        (CONFIRMING, "confirm", Heard(409, "confirmed", "points_already_deducted"), "fulfilled", 250),
        (CONFIRMING, "confirm", Heard(409, "expired", "hold_expired"), "expired", 0),
        (CONFIRMING, "confirm", Heard(409, "rolled_back", "transaction_rolled_back"), "cancelled", 0),
        (CONFIRMING, "confirm", Heard(403), "confirming", 250),
        (CONFIRMING, "confirm", Heard(404, "", "transaction_not_found"), "confirming", 250),
        (CONFIRMING, "ask", Heard(200, "held"), "confirming", 250),
        (CONFIRMING, "ask", Heard(200, "confirmed"), "fulfilled", 250),
        (SOLD_OUT, "rollback", Heard(200, "rolled_back"), "out_of_stock", 0),
        (SOLD_OUT, "rollback", Heard(409, "rolled_back", "no_points_to_roll_back"), "out_of_stock", 0),
        (SOLD_OUT, "rollback", Heard(409, "expired", "no_points_to_roll_back"), "out_of_stock", 0),
        (SOLD_OUT, "ask", Heard(200, "held"), "rolling_back", 250),
        (SOLD_OUT, "ask", Heard(200, "rolled_back"), "out_of_stock", 0),
        (ABANDONED, "rollback", Heard(404, "", "transaction_not_found"), "cancelled", 0),
        (ABANDONED, "rollback", Heard(404, "cancelled", "transaction_not_found"), "cancelled", 0),
        (ABANDONED, "rollback", Heard(200, "rolled_back"), "cancelled", 0),
        (ABANDONED, "rollback", Heard(409, "rejected", "no_points_to_roll_back"), "refused", 0),
        (ABANDONED, "ask", Heard(404, "", "transaction_not_found"), "rolling_back", 0),
        (ABANDONED, "ask", Heard(200, "held"), "rolling_back", 0),
    ],
)
def test_what_an_answer_makes_of_an_order(order: Order, operation: str, heard: Heard, becomes: str, taken: int) -> None:
    learnt = learn(order, heard, operation=operation)
    assert (learnt.state, learnt.taken) == (becomes, taken)


def test_an_order_is_pending_until_its_outcome_is_known() -> None:
    assert {order.outcome for order in (PLACED, HELD, CONFIRMING, SOLD_OUT, ABANDONED)} == {"pending"}


def test_what_repeats_itself_is_counted_and_the_story_has_an_end() -> None:
    order = PLACED
    for second in range(5):
        order = tell(order, Step("ask", "no_answer", second, attempts=4))
    assert [(step.attempts, step.at) for step in order.steps] == [(20, 4)]
    for number in range(100):
        order = tell(order, Step("ask", "ok", 0.0, answer=str(number)))
    assert len(order.steps) == LONGEST_STORY
