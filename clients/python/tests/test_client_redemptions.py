"""What the client makes of answers, told by hand: the states of an order, retries, and what is written down when."""

from collections.abc import Iterable
from typing import Any

import pytest
from points_client.exchanges import Act, Answer, Exchange, Pause, Refused, Request, Unanswered
from points_client.redemptions import Order, Step, hold, redeem, resume


def answer(status: int, **body: object) -> Answer:
    return Answer(status, {}, repr(body).replace("'", '"').encode())


class Told:
    """Plays the platform by a list of answers, and keeps what it was asked."""

    def __init__(self, answers: Iterable[Answer | None]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.pauses: list[float] = []
        self.saved: list[Step] = []
        #: What was written down and asked, in its order.
        self.story: list[str] = []

    def save(self, order: Order) -> None:
        self.saved.append(order.step)
        self.story.append(order.step.value)

    def play(self, exchange: Exchange[Any]) -> Any:
        sent: Any = None
        try:
            while True:
                match exchange.send(sent):
                    case Request(method, path):
                        self.asked.append(f"{method} {path}")
                        self.story.append(f"{method} {path}")
                        sent = self._answers.pop(0)
                    case Pause(seconds):
                        self.pauses.append(seconds)
                        sent = None
                    case Act(call):
                        sent = call()
        except StopIteration as done:
            return done.value


ORDER = Order("o-1", "u-1", 100, "a mug")
COMMIT, CONFIRM = "POST /eai/v1/points?commit", "POST /eai/v1/points?confirm"
ROLLBACK, LOOK_UP = "POST /eai/v1/points?rollback", "GET /eai/v1/points/o-1"
HELD, CONFIRMED = answer(200, state="held"), answer(200, state="confirmed")
ROLLED_BACK = answer(200, state="rolled_back")
TOO_LATE = answer(409, code="hold_expired", state="expired")
ALREADY = answer(409, code="points_already_deducted", state="confirmed")
SILENCE: list[Answer | None] = [None] * 5
DECIDED = ("placed", "held", "confirming")


@pytest.mark.parametrize(
    ("answers", "delivers", "asked", "saved"),
    [
        ([HELD, CONFIRMED], True, [COMMIT, CONFIRM], [*DECIDED, "confirmed"]),
        ([HELD, ROLLED_BACK], False, [COMMIT, ROLLBACK], ["placed", "held", "rolling_back", "released"]),
        ([answer(400, code="insufficient_points", state="rejected")], True, [COMMIT], ["placed", "refused"]),
        ([answer(404, code="invalid_user")], True, [COMMIT], ["placed", "refused"]),
        # The answer was lost, the hold is there.
        ([*SILENCE, HELD, CONFIRMED], True, [*[COMMIT] * 5, LOOK_UP, CONFIRM], [*DECIDED, "confirmed"]),
        # The request was lost: what is not there must not come later.
        (
            [*SILENCE, answer(404, code="transaction_not_found"), answer(404, code="transaction_not_found")],
            True,
            [*[COMMIT] * 5, LOOK_UP, ROLLBACK],
            ["placed", "rolling_back", "released"],
        ),
        ([HELD, TOO_LATE], True, [COMMIT, CONFIRM], [*DECIDED, "released"]),
        ([HELD, ALREADY], True, [COMMIT, CONFIRM], [*DECIDED, "confirmed"]),
    ],
)
def test_an_order_goes_on_from_the_state_that_the_platform_tells(
    answers: list[Answer | None], delivers: bool, asked: list[str], saved: list[str]
) -> None:
    platform = Told(answers)
    order = platform.play(redeem(ORDER, platform, lambda _: delivers))
    assert platform.asked == asked
    assert platform.saved == [Step(step) for step in saved]
    assert not order.is_open


def test_a_decision_is_written_down_before_the_platform_hears_of_it() -> None:
    platform = Told([HELD, CONFIRMED])
    order = platform.play(redeem(ORDER, platform, lambda _: True))
    assert order.step is Step.CONFIRMED
    assert platform.story == ["placed", COMMIT, "held", "confirming", CONFIRM, "confirmed"]


@pytest.mark.parametrize(
    ("step", "answers", "asked", "ends"),
    [
        ("placed", [answer(404, code="transaction_not_found")], [ROLLBACK], "released"),
        ("placed", [ROLLED_BACK], [ROLLBACK], "released"),
        ("held", [ROLLED_BACK], [ROLLBACK], "released"),
        ("confirming", [CONFIRMED], [CONFIRM], "confirmed"),
        ("confirming", [ALREADY], [CONFIRM], "confirmed"),
        ("rolling_back", [answer(409, code="no_points_to_roll_back", state="expired")], [ROLLBACK], "released"),
        ("rolling_back", [*SILENCE, *SILENCE], [*[ROLLBACK] * 5, *[LOOK_UP] * 5], "rolling_back"),
        ("confirming", [answer(401, code="invalid_credentials")], [CONFIRM], "confirming"),
    ],
)
def test_an_open_order_is_finished_after_a_crash(
    step: str, answers: list[Answer | None], asked: list[str], ends: str
) -> None:
    platform = Told(answers)
    order = platform.play(resume(Order("o-1", "u-1", 100, "a mug", Step(step)), platform))
    assert platform.asked == asked
    assert order.step == ends


@pytest.mark.parametrize(
    ("first", "again"),
    [*((status, True) for status in (None, 500, 503, 429, 408)), *((status, False) for status in (400, 401, 404, 409))],
)
def test_what_is_no_answer_is_asked_again_and_a_refusal_never(first: int | None, again: bool) -> None:
    platform = Told([None if first is None else answer(first, code="x"), HELD])
    if again:
        assert platform.play(hold("o-1", "u-1", 1, "x"))["state"] == "held"
    else:
        with pytest.raises(Refused) as refused:
            platform.play(hold("o-1", "u-1", 1, "x"))
        assert refused.value.code == "x"
    assert platform.asked == [COMMIT] * (2 if again else 1)


def test_pauses_grow_and_are_never_shorter_than_the_platform_wishes() -> None:
    wished = Answer(503, {"retry-after": "3"}, b"")
    platform = Told([wished, wished, None, None, HELD])
    platform.play(hold("o-1", "u-1", 1, "x"))
    assert platform.pauses[:2] == [3.0, 3.0]
    assert 0.4 <= platform.pauses[2] <= 0.8
    assert 0.8 <= platform.pauses[3] <= 1.6


def test_nobody_comes_back_sooner_than_asked() -> None:
    platform = Told([Answer(503, {"retry-after": "3600"}, b"")])
    with pytest.raises(Unanswered):
        platform.play(hold("o-1", "u-1", 1, "x"))
    assert platform.asked == [COMMIT]
