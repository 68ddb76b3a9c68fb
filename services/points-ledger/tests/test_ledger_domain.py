"""The contract's state table, every cell, without any I/O; and random play against a model of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from points_ledger.domain.accounts import MAX_POINTS, Account, Entry, Kind, Post
from points_ledger.domain.decisions import Command, Decision, Found, decide
from points_ledger.domain.transactions import (
    Commit,
    Confirm,
    Refund,
    Rollback,
    State,
    Transaction,
    release_expired,
)
from shared.errors import Refusal

from .ledger_model import machine_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOLD = timedelta(minutes=15)
MINE = ("demo", "shop", "order-1")
ANN = Account("demo", "ann", available=100, held=40, entries=7)

COMMIT = Commit(*MINE, "ann", 40, "a mug", HOLD)
CONFIRM = Confirm(*MINE, "ann")
ROLLBACK = Rollback(*MINE, "ann")
REFUND = Refund(*MINE, "ann", "return-1", 10)

OPERATIONS: dict[str, Callable[[str], Command]] = {
    "commit": lambda user: COMMIT._replace(user_id=user),
    "confirm": lambda user: CONFIRM._replace(user_id=user),
    "rollback": lambda user: ROLLBACK._replace(user_id=user),
    "refund": lambda user: REFUND._replace(user_id=user),
}

#: (operation, state before) → (code, state after, does anything change?). An empty code is a 200.
TABLE: dict[tuple[str, State | None], tuple[str, State | None, bool]] = {
    ("commit", None): ("", State.HELD, True),
    ("commit", State.HELD): ("", State.HELD, False),
    ("commit", State.CONFIRMED): ("points_already_deducted", State.CONFIRMED, False),
    ("commit", State.ROLLED_BACK): ("transaction_rolled_back", State.ROLLED_BACK, False),
    ("commit", State.EXPIRED): ("hold_expired", State.EXPIRED, False),
    ("commit", State.REJECTED): ("insufficient_points", State.REJECTED, False),
    ("commit", State.CANCELLED): ("transaction_rolled_back", State.CANCELLED, False),
    ("confirm", None): ("transaction_not_found", None, False),
    ("confirm", State.HELD): ("", State.CONFIRMED, True),
    ("confirm", State.CONFIRMED): ("points_already_deducted", State.CONFIRMED, False),
    ("confirm", State.ROLLED_BACK): ("transaction_rolled_back", State.ROLLED_BACK, False),
    ("confirm", State.EXPIRED): ("hold_expired", State.EXPIRED, False),
    ("confirm", State.REJECTED): ("transaction_rejected", State.REJECTED, False),
    ("confirm", State.CANCELLED): ("transaction_rolled_back", State.CANCELLED, False),
    ("rollback", None): ("transaction_not_found", State.CANCELLED, True),
    ("rollback", State.HELD): ("", State.ROLLED_BACK, True),
    ("rollback", State.CONFIRMED): ("points_already_deducted", State.CONFIRMED, False),
    ("rollback", State.ROLLED_BACK): ("no_points_to_roll_back", State.ROLLED_BACK, False),
    ("rollback", State.EXPIRED): ("no_points_to_roll_back", State.EXPIRED, False),
    ("rollback", State.REJECTED): ("no_points_to_roll_back", State.REJECTED, False),
    ("rollback", State.CANCELLED): ("transaction_not_found", State.CANCELLED, False),
    ("refund", None): ("transaction_not_found", None, False),
    ("refund", State.HELD): ("transaction_not_confirmed", State.HELD, False),
    ("refund", State.CONFIRMED): ("", State.CONFIRMED, True),
    ("refund", State.ROLLED_BACK): ("transaction_not_confirmed", State.ROLLED_BACK, False),
    ("refund", State.EXPIRED): ("transaction_not_confirmed", State.EXPIRED, False),
    ("refund", State.REJECTED): ("transaction_not_confirmed", State.REJECTED, False),
    ("refund", State.CANCELLED): ("transaction_not_found", State.CANCELLED, False),
}


def transaction_in(state: State) -> Transaction:
    """Ann's order-1 over 40 points, as it is in that state."""
    held = state is State.HELD
    never_held = state in {State.REJECTED, State.CANCELLED}
    return Transaction(
        *MINE,
        user_id="ann",
        state=state,
        points=0 if state is State.CANCELLED else 40,
        deducted=40 if state is State.CONFIRMED else 0,
        refunded=0,
        description="a mug",
        created_at=NOW - timedelta(minutes=1),
        expires_at=None if never_held else NOW + HOLD,
        ended_at=None if held else NOW,
    )


def code_of(decision: Decision) -> str:
    return decision.outcome.stable_code if isinstance(decision.outcome, Refusal) else ""


def state_told(decision: Decision) -> str | None:
    if isinstance(decision.outcome, Refusal):
        return decision.outcome.members.get("state")
    assert isinstance(decision.outcome, Transaction)
    return decision.outcome.state.value


def nothing_changes(decision: Decision) -> bool:
    return decision.account is None and decision.transaction is None and decision.entry is None


def test_the_table_has_every_cell() -> None:
    assert set(TABLE) == set(product(OPERATIONS, [None, *State]))


@pytest.mark.parametrize(("operation", "before"), TABLE)
def test_each_cell_answers_and_changes_as_the_contract_says(operation: str, before: State | None) -> None:
    code, after, changes = TABLE[operation, before]
    found = Found(ANN, None if before is None else transaction_in(before))

    decision = decide(OPERATIONS[operation]("ann"), found, NOW)

    assert code_of(decision) == code
    assert state_told(decision) == (None if after is None else after.value)
    assert nothing_changes(decision) is not changes
    if isinstance(decision.outcome, Refusal):
        assert decision.outcome.members["transactionid"] == "order-1"
    if decision.account is not None and operation != "refund":
        # A commit's hold, a confirm's deduction, a rollback's release: always of exactly these 40 points.
        moved = {"commit": (60, 80), "confirm": (100, 0), "rollback": (140, 0)}[operation]
        assert (decision.account.available, decision.account.held) == moved


@pytest.mark.parametrize("operation", ["confirm", "rollback", "refund"])
@pytest.mark.parametrize("before", [state for state in State if state is not State.CANCELLED])
def test_naming_another_user_than_the_commit_is_a_mismatch_in_every_state(operation: str, before: State) -> None:
    decision = decide(OPERATIONS[operation]("bob"), Found(Account("demo", "bob", 100), transaction_in(before)), NOW)

    assert code_of(decision) == "transaction_mismatch"
    assert isinstance(decision.outcome, Refusal)
    assert decision.outcome.members["field"] == "userid"
    assert state_told(decision) == before.value
    assert nothing_changes(decision)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cancelled_id_answers_every_user_alike(operation: str) -> None:
    cancelled = transaction_in(State.CANCELLED)

    for user, account in (("ann", ANN), ("bob", Account("demo", "bob", 100)), ("nobody", None)):
        decision = decide(OPERATIONS[operation](user), Found(account, cancelled), NOW)
        assert code_of(decision) == TABLE[operation, State.CANCELLED][0]
        assert nothing_changes(decision)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"user_id": "bob"}, "userid"),
        ({"points": 39}, "pointstodeduct"),
        ({"points": 41}, "pointstodeduct"),
        ({"user_id": "bob", "points": 41}, "userid"),
    ],
)
def test_a_repeated_commit_that_differs_names_the_field(changed: dict[str, Any], field: str) -> None:
    decision = decide(COMMIT._replace(**changed), Found(ANN, transaction_in(State.HELD)), NOW)

    assert isinstance(decision.outcome, Refusal)
    assert (decision.outcome.stable_code, decision.outcome.members["field"]) == ("transaction_mismatch", field)
    assert nothing_changes(decision)


@pytest.mark.parametrize("before", [s for s in State if s not in {State.HELD}])
def test_what_has_ended_refuses_a_commit_whatever_user_and_points_it_names(before: State) -> None:
    other = COMMIT._replace(user_id="bob", points=1)

    decision = decide(other, Found(Account("demo", "bob", 100), transaction_in(before)), NOW)

    assert code_of(decision) == TABLE["commit", before][0]
    assert nothing_changes(decision)


def test_a_commit_for_an_unknown_user_leaves_nothing_behind() -> None:
    decision = decide(COMMIT, Found(None), NOW)

    assert code_of(decision) == "invalid_user"
    assert nothing_changes(decision)


@pytest.mark.parametrize(("points", "code"), [(99, ""), (100, ""), (101, "insufficient_points")])
def test_a_hold_takes_no_more_than_is_available(points: int, code: str) -> None:
    decision = decide(COMMIT._replace(points=points), Found(ANN), NOW)

    assert code_of(decision) == code
    assert decision.transaction is not None
    assert decision.transaction.state is (State.REJECTED if code else State.HELD)
    assert (decision.account is None) is bool(code)


@pytest.mark.parametrize(("points", "left"), [(None, 100), (40, 100), (39, 101), (1, 139)])
def test_a_partial_confirm_releases_the_rest(points: int | None, left: int) -> None:
    decision = decide(CONFIRM._replace(points=points), Found(ANN, transaction_in(State.HELD)), NOW)

    assert decision.account == ANN._replace(available=left, held=0, entries=8)
    assert decision.transaction is not None
    assert decision.transaction.deducted == (points or 40)
    assert decision.entry is not None
    assert (decision.entry.number, decision.entry.points, decision.entry.balance) == (8, -(points or 40), left)


def test_a_confirm_of_more_than_is_held_deducts_nothing() -> None:
    decision = decide(CONFIRM._replace(points=41), Found(ANN, transaction_in(State.HELD)), NOW)

    assert isinstance(decision.outcome, Refusal)
    assert decision.outcome.members["field"] == "pointstodeduct"
    assert nothing_changes(decision)


def refund_entry(points: int) -> Entry:
    return Entry("demo", "ann", 9, Kind.REFUND, points, 110, "shop", REFUND.reference, "a mug", NOW)


@pytest.mark.parametrize(("points", "already", "code"), [
    (40, 0, ""), (41, 0, "refund_exceeds_deduction"), (10, 30, ""), (11, 30, "refund_exceeds_deduction"),
    (1, 40, "refund_exceeds_deduction"),
])  # fmt: skip
def test_refunds_never_exceed_what_was_deducted(points: int, already: int, code: str) -> None:
    confirmed = transaction_in(State.CONFIRMED)._replace(refunded=already)

    decision = decide(REFUND._replace(points=points), Found(ANN, confirmed), NOW)

    assert code_of(decision) == code
    if not code:
        assert decision.transaction is not None
        assert decision.transaction.refunded == already + points
        assert decision.account is not None
        assert decision.account.available == 100 + points


def test_a_refund_id_gives_back_once() -> None:
    confirmed = transaction_in(State.CONFIRMED)._replace(refunded=40)

    again = decide(REFUND, Found(ANN, confirmed, refund_entry(10)), NOW)
    other = decide(REFUND, Found(ANN, confirmed, refund_entry(11)), NOW)

    assert code_of(again) == ""
    assert again.repeated
    assert nothing_changes(again)
    assert code_of(other) == "transaction_mismatch"
    assert nothing_changes(other)


def test_no_balance_leaves_the_numbers_that_json_carries_exactly() -> None:
    full = Account("demo", "ann", available=MAX_POINTS - 40, held=40)
    credit = Post("demo", "ann", 1, "r", "because")
    refund = Found(full._replace(held=0, available=MAX_POINTS), transaction_in(State.CONFIRMED))

    assert code_of(decide(credit, Found(full), NOW)) == "balance_limit_exceeded"
    assert code_of(decide(credit, Found(full._replace(available=full.available - 1)), NOW)) == ""
    assert code_of(decide(REFUND, refund, NOW)) == "balance_limit_exceeded"


def test_a_hold_is_over_at_the_very_instant_of_its_end() -> None:
    hold = transaction_in(State.HELD)
    assert hold.expires_at is not None

    before = release_expired(ANN, hold, hold.expires_at - timedelta(microseconds=1))
    account, expired = release_expired(ANN, hold, hold.expires_at)

    assert before == (ANN, hold)
    assert (account.available, account.held) == (140, 0)
    assert (expired.state, expired.ended_at) == (State.EXPIRED, hold.expires_at)


@pytest.mark.parametrize("state", [s for s in State if s is not State.HELD])
def test_what_is_not_held_never_releases_points(state: State) -> None:
    transaction = transaction_in(state)

    assert release_expired(ANN, transaction, NOW + timedelta(days=30)) == (ANN, transaction)


def test_random_play_never_leaves_the_model_and_breaks_no_invariant() -> None:
    play = settings(max_examples=70, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(machine_of(), settings=play)
