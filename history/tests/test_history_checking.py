"""The checker itself: histories written by hand, of which it must take the good ones and refuse the bad ones."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from history.checking import check
from history.records import Call, History

#: The hold of `t` ends then, in seconds since 1970.
EXPIRES_AT = 1_800_000_000.5
EXPIRES = "2027-01-15T08:00:00.500Z"
BEFORE, AFTER = EXPIRES_AT - 0.4, EXPIRES_AT + 0.4


class Written:
    """A history of one user with a hundred points and one vendor, line by line."""

    def __init__(self) -> None:
        self.history = History(accounts={"ann": {"available": 100, "held": 0, "total": 100}}, feeds={"shop": []})
        self._entries = [
            {"number": 1, "kind": "credit", "points": 100, "balance": 100, "vendor_id": None, "transactionid": None,
             "refundid": None, "reference": "begin"}
        ]  # fmt: skip
        self.history.statements["ann"] = self._entries
        self._places = itertools.count(1)
        self._events = itertools.count(1)
        self._now = 0.0
        self.told(self.asks("credit", points=100, vendor="", transaction="", reference="begin"), 201)

    def asks(self, operation: str, *, at: float | None = None, **asked: Any) -> Call:
        """A call begins."""
        place = next(self._places)
        given = {"vendor": "shop", "transaction": "t", "user": "ann"} | asked
        # Without a time of its own, each place is a millisecond, long before the hold ends.
        call = Call(len(self.history.calls), "client", operation, place, self._time(place, at), **given)
        self.history.calls.append(call)
        return call

    def told(self, call: Call, status: int, *, at: float | None = None, replayed: bool = False, **body: Any) -> None:
        """It is answered."""
        call.ended = next(self._places)
        call.ended_at = self._time(call.ended, at)
        call.status, call.body, call.replayed = status, body, replayed

    def call(self, operation: str, status: int, *, at: float | None = None, asked: Any = None, **body: Any) -> Call:
        """Both, one after the other."""
        call = self.asks(operation, at=at, **(asked or {}))
        self.told(call, status, at=at, **body)
        return call

    def commit(self, points: int = 30, **more: Any) -> Call:
        return self.call("commit", 200, asked={"points": points}, state="held", points=points, **more)

    def ends(
        self, state: str, points: int = 30, *, deducted: int = 0, refunds: Iterable[tuple[str, int]] = (), **more: Any
    ) -> History:
        """The last look: the transaction, its entries and events, and an account that agrees with them."""
        refunds = list(refunds)
        look = self.asks("look_up")
        look.process = "auditor"
        refunded = sum(given for _, given in refunds)
        body = {"state": state, "userid": "ann", "pointsrequested": points, "pointsdeducted": deducted}
        self.told(look, 200, **body, pointsrefunded=refunded, **more)
        if deducted:
            self._enter("redemption", -deducted, None)
        for refund, given in refunds:
            self._enter("refund", given, refund)
        held = points if state == "held" else 0
        total = 100 - deducted + refunded
        self.history.accounts["ann"] = {"available": total - held, "held": held, "total": total}
        if state in ("held", "confirmed", "rolled_back", "expired"):
            self.event("points.held", "held")
        if state in ("confirmed", "rolled_back", "expired"):
            self.event(f"points.{state}", state)
        given_back = 0
        for refund, given in refunds:
            given_back += given
            self.event("points.refunded", state, refundid=refund, refundedpoints=given, pointsrefunded=given_back)
        return self.history

    def never_was(self) -> History:
        look = self.asks("look_up")
        look.process = "auditor"
        self.told(look, 404, code="transaction_not_found")
        return self.history

    def event(self, kind: str, state: str, **more: Any) -> None:
        data = {"transactionid": "t", "userid": "ann", "state": state} | more
        self.history.feeds["shop"].append({"id": f"evt_{next(self._events)}", "type": kind, "data": data})

    def _enter(self, kind: str, points: int, refund: str | None) -> None:
        balance = sum(entry["points"] for entry in self._entries) + points
        self._entries.append(
            {"number": len(self._entries) + 1, "kind": kind, "points": points, "balance": balance,
             "vendor_id": "shop", "transactionid": "t", "refundid": refund, "reference": "t"}
        )  # fmt: skip

    def _time(self, place: int, at: float | None) -> float:
        self._now = max(self._now, at if at is not None else EXPIRES_AT - 100 + place / 1000)
        return self._now


@pytest.fixture
def written() -> Written:
    return Written()


def broken(history: History) -> str:
    """All that the checker says, as one text."""
    return "\n".join(map(str, check(history)))


def test_an_ordinary_redemption_breaks_nothing(written: Written) -> None:
    written.commit(available=70)
    written.call("confirm", 200, state="confirmed", points=30, available=70)
    assert broken(written.ends("confirmed", deducted=30)) == ""


def test_what_was_never_answered_may_have_happened(written: Written) -> None:
    written.asks("commit", points=30)
    written.call("confirm", 200, state="confirmed", points=30)
    assert broken(written.ends("confirmed", deducted=30)) == ""


def test_what_was_never_answered_may_never_happen(written: Written) -> None:
    written.asks("commit", points=30)
    assert broken(written.never_was()) == ""


def test_what_was_never_answered_may_happen_late(written: Written) -> None:
    written.asks("commit", points=30)
    written.call("confirm", 404, code="transaction_not_found")
    written.call("rollback", 200, state="rolled_back", points=30)
    assert broken(written.ends("rolled_back")) == ""


def test_a_503_is_no_answer(written: Written) -> None:
    written.call("commit", 503, asked={"points": 30}, code="outcome_unknown")
    assert broken(written.ends("held")) == ""


def test_calls_at_once_may_come_in_either_order(written: Written) -> None:
    written.commit()
    confirm, rollback = written.asks("confirm"), written.asks("rollback")
    written.told(rollback, 409, code="points_already_deducted", state="confirmed")
    written.told(confirm, 200, state="confirmed", points=30)
    assert broken(written.ends("confirmed", deducted=30)) == ""


def test_an_acknowledged_commit_must_be_there(written: Written) -> None:
    written.commit()
    assert "no order of the calls explains the answers to transaction t" in broken(written.never_was())


def test_a_commit_that_was_refused_must_not_be_there(written: Written) -> None:
    written.call("rollback", 404, code="transaction_not_found", state="cancelled")
    written.call("commit", 409, asked={"points": 30}, code="transaction_rolled_back", state="cancelled")
    assert "no order" in broken(written.ends("held"))


def test_nothing_is_both_confirmed_and_rolled_back(written: Written) -> None:
    written.commit()
    confirm, rollback = written.asks("confirm"), written.asks("rollback")
    written.told(rollback, 200, state="rolled_back", points=30)
    written.told(confirm, 200, state="confirmed", points=30)
    assert "no order" in broken(written.ends("confirmed", deducted=30))


def test_what_was_rolled_back_never_holds_again(written: Written) -> None:
    written.call("rollback", 404, code="transaction_not_found", state="cancelled")
    written.commit()
    assert "no order" in broken(written.ends("held"))


def test_a_no_is_final(written: Written) -> None:
    written.call("commit", 400, asked={"points": 30}, code="insufficient_points", state="rejected")
    written.commit()
    assert "no order" in broken(written.ends("held"))


def test_a_later_call_does_not_see_an_earlier_state(written: Written) -> None:
    written.commit()
    written.call("confirm", 200, state="confirmed", points=30)
    stale = {"userid": "ann", "pointsrequested": 30, "pointsdeducted": 0, "pointsrefunded": 0}
    written.call("look_up", 200, state="held", **stale)
    assert "no order" in broken(written.ends("confirmed", deducted=30))


def test_another_sum_than_the_first_commits_is_a_mismatch(written: Written) -> None:
    written.commit()
    written.call("commit", 200, asked={"points": 31}, state="held", points=31)
    assert "no order" in broken(written.ends("held"))


def test_refunds_at_once_stay_below_the_deduction(written: Written) -> None:
    written.commit()
    written.call("confirm", 200, state="confirmed", points=30)
    refunds = [written.asks("refund", points=20, reference=f"r-{n}") for n in range(2)]
    for refund in refunds:
        written.told(refund, 200, state="confirmed", points=20)
    assert "no order" in broken(written.ends("confirmed", deducted=30, refunds=[("r-0", 20)]))


def test_one_of_two_refunds_may_be_refused(written: Written) -> None:
    written.commit()
    written.call("confirm", 200, state="confirmed", points=30)
    refunds = [written.asks("refund", points=20, reference=f"r-{n}") for n in range(2)]
    written.told(refunds[1], 200, state="confirmed", points=20)
    written.told(refunds[0], 409, code="refund_exceeds_deduction", state="confirmed")
    assert broken(written.ends("confirmed", deducted=30, refunds=[("r-1", 20)])) == ""


@pytest.mark.parametrize(("at", "is_right"), [(BEFORE, True), (AFTER, False)])
def test_a_hold_is_confirmed_only_before_its_end(written: Written, at: float, is_right: bool) -> None:
    written.commit(expiresat=EXPIRES)
    written.call("confirm", 200, at=at, state="confirmed", points=30)
    assert (broken(written.ends("confirmed", deducted=30)) == "") is is_right


@pytest.mark.parametrize(("at", "is_right"), [(BEFORE, False), (AFTER, True)])
def test_a_hold_has_expired_only_after_its_end(written: Written, at: float, is_right: bool) -> None:
    written.commit(expiresat=EXPIRES)
    written.call("confirm", 409, at=at, code="hold_expired", state="expired")
    assert ("no order" not in broken(written.ends("expired"))) is is_right


def test_a_call_over_the_end_of_a_hold_may_find_either(written: Written) -> None:
    written.commit(expiresat=EXPIRES)
    confirm = written.asks("confirm", at=BEFORE)
    rollback = written.asks("rollback", at=BEFORE)
    written.told(rollback, 409, at=AFTER, code="no_points_to_roll_back", state="expired")
    written.told(confirm, 409, at=AFTER, code="hold_expired", state="expired")
    assert "no order" not in broken(written.ends("expired"))


def test_a_repeat_with_the_same_key_gets_the_first_answer(written: Written) -> None:
    asked = {"points": 30, "key": "k"}
    written.call("commit", 200, asked=asked, state="held", points=30)
    written.call("rollback", 200, state="rolled_back", points=30)
    written.call("commit", 200, asked=asked, replayed=True, state="held", points=30)
    assert broken(written.ends("rolled_back")) == ""


def test_a_repeat_with_the_same_key_does_not_act(written: Written) -> None:
    asked = {"points": 30, "key": "k"}
    written.call("commit", 200, asked=asked, state="held", points=30)
    written.call("commit", 200, asked=asked, state="held", points=30)
    assert "Idempotency-Key k acted more than once" in broken(written.ends("held"))


def test_a_repeat_with_the_same_key_is_not_answered_differently(written: Written) -> None:
    asked = {"points": 30, "key": "k"}
    written.call("commit", 200, asked=asked, state="held", points=30, available=70)
    written.call("commit", 200, asked=asked, replayed=True, state="held", points=30, available=69)
    assert "Idempotency-Key k was answered differently" in broken(written.ends("held"))


def test_a_balance_lies_between_what_is_sure_and_what_may_be(written: Written) -> None:
    written.asks("commit", points=30)
    for available in (100, 70):
        written.call("balance", 200, asked={"vendor": "", "transaction": ""}, available=available)
    assert broken(written.ends("held")) == ""


def test_a_balance_that_cannot_have_been_is_found(written: Written) -> None:
    written.commit()
    written.call("balance", 200, asked={"vendor": "", "transaction": ""}, available=100, held=0, total=100)
    assert "available was said to be 100" in broken(written.ends("held"))


def test_an_account_that_does_not_add_up_is_found(written: Written) -> None:
    written.commit()
    history = written.ends("held")
    history.accounts["ann"]["held"] = 60
    found = broken(history)
    assert "at the end its held is 60, but its open holds add up to 30" in found
    assert "available and held add up to 130" in found


def test_an_acknowledged_credit_has_an_entry(written: Written) -> None:
    written.call("credit", 201, asked={"vendor": "", "transaction": "", "reference": "c", "points": 5})
    written.commit()
    assert "acknowledged, but no entry: credit ann c 5" in broken(written.ends("held"))


def test_an_entry_that_nobody_asked_for_is_found(written: Written) -> None:
    written.commit()
    history = written.ends("held")
    history.statements["ann"].append(
        {"number": 2, "kind": "credit", "points": 1, "balance": 101, "vendor_id": None, "transactionid": None,
         "refundid": None, "reference": "gift"}
    )  # fmt: skip
    assert "an entry that nobody asked for: credit ann gift 1" in broken(history)


def test_an_event_that_is_missing_is_found(written: Written) -> None:
    written.commit()
    written.call("confirm", 200, state="confirmed", points=30)
    history = written.ends("confirmed", deducted=30)
    history.feeds["shop"].pop()
    assert "told were points.held" in broken(history)


def test_events_in_the_wrong_order_are_found(written: Written) -> None:
    written.commit()
    written.call("confirm", 200, state="confirmed", points=30)
    history = written.ends("confirmed", deducted=30)
    history.feeds["shop"].reverse()
    assert "told were points.confirmed, points.held" in broken(history)


def test_an_event_that_is_told_twice_is_found(written: Written) -> None:
    written.commit()
    history = written.ends("held")
    history.feeds["shop"] *= 2
    found = broken(history)
    assert "shop sees events twice: evt_1" in found
    assert "told were points.held, points.held" in found


def test_who_follows_the_feed_misses_none(written: Written) -> None:
    history = written.ends("rejected") if written.call("commit", 400, asked={"points": 30}, code="insufficient_points",
                                                       state="rejected") else History()  # fmt: skip
    history.feeds["platform"] = [{"id": f"evt_{n}", "type": "points.held", "data": {}} for n in range(3)]
    history.feeds["platform"].append(
        {"id": "evt_3", "type": "points.credited", "data": {"user_id": "ann", "reference": "begin", "balance": 100}}
    )
    history.followed = ["evt_0", "evt_2", "evt_3"]
    assert broken(history) == "who follows the feed missed 1 events: evt_1"


def test_a_500_is_no_answer_that_the_contract_knows(written: Written) -> None:
    written.call("commit", 500, asked={"points": 30}, code="internal_error")
    assert "an answer that the contract does not know: 500" in broken(written.never_was())


def test_the_excerpt_shows_the_contradiction_and_nothing_else(written: Written) -> None:
    written.commit()
    for _ in range(5):
        written.call("commit", 409, asked={"points": 31}, code="transaction_mismatch", state="held")
    rollback = written.call("rollback", 200, state="rolled_back", points=30)
    confirm = written.call("confirm", 200, state="confirmed", points=30)
    written.call("commit", 409, asked={"points": 30}, code="points_already_deducted", state="confirmed")
    violation = next(one for one in check(written.ends("confirmed", deducted=30)) if "no order" in one.what)
    assert len(violation.excerpt) == 3
    assert [str(rollback), str(confirm)] == list(violation.excerpt[1:])


def test_a_history_is_the_same_after_it_was_kept(written: Written, tmp_path: Path) -> None:
    written.commit()
    history = written.ends("held")
    history.save(tmp_path / "kept.ndjson")
    assert History.load(tmp_path / "kept.ndjson") == history
