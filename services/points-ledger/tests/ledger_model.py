"""The ledger as the contract has it, in plain dictionaries: no balance is ever kept, each is summed up anew.

It shares no rule with the domain. `machine_of` plays random commands against both and compares after every step;
it takes the `decide` to test, so that a wrong one can be handed in to see that the comparison finds it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from points_ledger.domain.accounts import Account, Entry, Post
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

Decide = Callable[[Command, Found, datetime], Decision]

TENANT = "demo"
USERS = ("ann", "bob")
NOBODY = "nobody"
VENDORS = ("shop", "mall")
IDS = ("1", "2", "3")
MOST = 9_007_199_254_740_991


@dataclass(frozen=True)
class Told:
    """What a caller is told: `code` is empty where nothing was refused."""

    code: str = ""
    state: str | None = None
    points: int | None = None
    field: str | None = None


@dataclass
class Redemption:
    """One (vendor, transaction id)."""

    user: str
    state: str
    points: int
    expires_at: datetime | None = None
    deducted: int = 0
    refunds: dict[str, int] = field(default_factory=dict)

    def state_at(self, now: datetime) -> str:
        if self.state == "held" and self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return self.state


class Model:
    """The contract's table, written down a second time."""

    def __init__(self) -> None:
        self.posts: dict[str, dict[tuple[str, str], int]] = {}
        self.redemptions: dict[tuple[str, str], Redemption] = {}

    def total(self, user: str) -> int:
        redeemed = [r for r in self.redemptions.values() if r.user == user]
        given_back = sum(sum(r.refunds.values()) for r in redeemed)
        return sum(self.posts[user].values()) - sum(r.deducted for r in redeemed) + given_back

    def held(self, user: str, now: datetime) -> int:
        return sum(r.points for r in self.redemptions.values() if r.user == user and r.state_at(now) == "held")

    def available(self, user: str, now: datetime) -> int:
        return self.total(user) - self.held(user, now)

    def told(self, command: Command, now: datetime) -> Told:
        """Carries out `command` and says what its caller must be told."""
        match command:
            case Commit():
                return self._commit(command, now)
            case Confirm():
                return self._confirm(command, now)
            case Rollback():
                return self._rollback(command, now)
            case Refund():
                return self._refund(command, now)
            case Post():
                return self._post(command, now)

    def _commit(self, c: Commit, now: datetime) -> Told:
        known = self.redemptions.get((c.vendor_id, c.transaction_id))
        if known is None:
            if c.user_id not in self.posts:
                return Told("invalid_user")
            state = "held" if c.points <= self.available(c.user_id, now) else "rejected"
            self.redemptions[c.vendor_id, c.transaction_id] = Redemption(c.user_id, state, c.points, now + c.hold)
            return Told("", "held", c.points) if state == "held" else Told("insufficient_points", "rejected")
        state = known.state_at(now)
        if state == "held":
            if known.user != c.user_id:
                return Told("transaction_mismatch", state, field="userid")
            if known.points != c.points:
                return Told("transaction_mismatch", state, field="pointstodeduct")
            return Told("", "held", c.points)
        code = {
            "confirmed": "points_already_deducted",
            "rolled_back": "transaction_rolled_back",
            "expired": "hold_expired",
            "rejected": "insufficient_points",
            "cancelled": "transaction_rolled_back",
        }[state]
        return Told(code, state)

    def _confirm(self, c: Confirm, now: datetime) -> Told:
        known = self.redemptions.get((c.vendor_id, c.transaction_id))
        if known is None:
            return Told("transaction_not_found")
        state = known.state_at(now)
        if state == "cancelled":
            return Told("transaction_rolled_back", state)
        if known.user != c.user_id:
            return Told("transaction_mismatch", state, field="userid")
        if state == "held":
            points = known.points if c.points is None else c.points
            if points > known.points:
                return Told("transaction_mismatch", state, field="pointstodeduct")
            known.state, known.deducted = "confirmed", points
            return Told("", "confirmed", points)
        code = {
            "confirmed": "points_already_deducted",
            "rolled_back": "transaction_rolled_back",
            "expired": "hold_expired",
            "rejected": "transaction_rejected",
        }[state]
        return Told(code, state)

    def _rollback(self, c: Rollback, now: datetime) -> Told:
        known = self.redemptions.get((c.vendor_id, c.transaction_id))
        if known is None:
            self.redemptions[c.vendor_id, c.transaction_id] = Redemption(c.user_id, "cancelled", 0)
            return Told("transaction_not_found", "cancelled")
        state = known.state_at(now)
        if state == "cancelled":
            return Told("transaction_not_found", state)
        if known.user != c.user_id:
            return Told("transaction_mismatch", state, field="userid")
        if state == "held":
            known.state = "rolled_back"
            return Told("", "rolled_back", known.points)
        return Told("points_already_deducted" if state == "confirmed" else "no_points_to_roll_back", state)

    def _refund(self, c: Refund, now: datetime) -> Told:
        known = self.redemptions.get((c.vendor_id, c.transaction_id))
        if known is None:
            return Told("transaction_not_found")
        state = known.state_at(now)
        if state == "cancelled":
            return Told("transaction_not_found", state)
        if known.user != c.user_id:
            return Told("transaction_mismatch", state, field="userid")
        if state != "confirmed":
            return Told("transaction_not_confirmed", state)
        if c.refund_id in known.refunds:
            if known.refunds[c.refund_id] != c.points:
                return Told("transaction_mismatch", state, field="points")
            return Told("", state, known.deducted)
        if sum(known.refunds.values()) + c.points > known.deducted:
            return Told("refund_exceeds_deduction", state)
        if self.total(c.user_id) + c.points > MOST:
            return Told("balance_limit_exceeded", state)
        known.refunds[c.refund_id] = c.points
        return Told("", state, known.deducted)

    def _post(self, c: Post, now: datetime) -> Told:
        posts = self.posts.get(c.user_id)
        if posts is None:
            return Told("account_not_found")
        key = ("credit" if c.points > 0 else "debit", c.reference)
        if key in posts:
            return Told(points=c.points) if posts[key] == c.points else Told("reference_mismatch")
        if self.available(c.user_id, now) + c.points < 0:
            return Told("insufficient_points")
        if self.total(c.user_id) + c.points > MOST:
            return Told("balance_limit_exceeded")
        posts[key] = c.points
        return Told(points=c.points)


class World:
    """The domain's decisions, kept in memory the way the ledger keeps them in its tables."""

    def __init__(self, decide_command: Decide) -> None:
        self._decide = decide_command
        self.accounts: dict[str, Account] = {}
        self.transactions: dict[tuple[str, str], Transaction] = {}
        self.entries: list[Entry] = []

    def told(self, command: Command, now: datetime) -> Told:
        """Releases what has run out on the account, decides, and keeps what was decided."""
        for key, transaction in self.transactions.items():
            if transaction.user_id == command.user_id and command.user_id in self.accounts:
                account, seen = release_expired(self.accounts[command.user_id], transaction, now)
                self.accounts[command.user_id], self.transactions[key] = account, seen
        named = None
        if isinstance(command, Commit | Confirm | Rollback | Refund):
            named = (command.vendor_id, command.transaction_id)
        found = self.transactions.get(named) if named is not None else None
        decision = self._decide(
            command,
            Found(
                self.accounts.get(command.user_id),
                None if found is None else found.as_of(now),
                self._entry_of(command),
            ),
            now,
        )
        if decision.account is not None:
            self.accounts[decision.account.user_id] = decision.account
        if named is not None and decision.transaction is not None:
            self.transactions[named] = decision.transaction
        if decision.entry is not None:
            self.entries.append(decision.entry)
        return told(decision.outcome)

    def _entry_of(self, command: Command) -> Entry | None:
        if not isinstance(command, Post | Refund):
            return None
        wanted = (command.user_id, command.kind, command.source, command.reference)
        return next((e for e in self.entries if (e.user_id, e.kind, e.source, e.reference) == wanted), None)


def told(outcome: Transaction | Entry | Account | Refusal) -> Told:
    """What a caller learns of an outcome."""
    match outcome:
        case Refusal():
            return Told(outcome.stable_code, outcome.members.get("state"), field=outcome.members.get("field"))
        case Transaction():
            points = outcome.deducted if outcome.state is State.CONFIRMED else outcome.points
            return Told("", outcome.state.value, points)
        case Entry():
            return Told(points=outcome.points)
        case Account():
            return Told()


def check_invariants(world: World, model: Model, now: datetime) -> None:
    """What must be true of every account at every instant, whatever was asked."""
    for user, account in world.accounts.items():
        entries = [entry for entry in world.entries if entry.user_id == user]
        held = [t for t in world.transactions.values() if t.user_id == user and t.state is State.HELD]
        assert account.available >= 0
        assert account.held >= 0
        assert account.held == sum(t.points for t in held), "held = sum of the open holds"
        assert account.total == sum(entry.points for entry in entries), "total = sum of the entries"
        assert account.total <= MOST
        assert [entry.number for entry in entries] == list(range(1, account.entries + 1)), "numbers have no gap"
        balance = 0
        for entry in entries:
            balance += entry.points
            assert entry.balance == balance, "each entry has the balance after it"
        # What has run out counts as available whether or not anybody has written that down.
        run_out = sum(t.points for t in held if t.as_of(now).state is State.EXPIRED)
        assert account.available + run_out == model.available(user, now)
        assert account.held - run_out == model.held(user, now)
    states = {key: transaction.as_of(now).state.value for key, transaction in world.transactions.items()}
    assert states == {key: redemption.state_at(now) for key, redemption in model.redemptions.items()}


users = st.sampled_from([*USERS, *USERS, *USERS, NOBODY])
vendors = st.sampled_from(VENDORS)
ids = st.sampled_from(IDS)
points = st.integers(1, 12)
few_points = st.integers(1, 4)
holds = st.sampled_from([timedelta(seconds=1), timedelta(seconds=5), timedelta(days=7), timedelta(days=7)])
#: Mostly the user whose transaction it is.
somebody_else = st.sampled_from([None, None, None, None, *USERS, NOBODY])


def machine_of(decide_command: Decide = decide) -> type[RuleBasedStateMachine]:
    """A state machine that plays `decide_command` against the model.

    Half of its rules ask about what is there already: left to chance alone, the same id, user and points hardly ever
    come together a second time, and wrong rules for that escape.
    """

    class LedgerMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.now = datetime(2026, 11, 21, tzinfo=UTC)
            self.model, self.world = Model(), World(decide_command)

        @initialize()
        def open_accounts(self) -> None:
            for user in USERS:
                self.model.posts[user] = {}
                self.world.accounts[user] = Account(TENANT, user)
                self.play(Post(TENANT, user, 20, "to begin with", "because"))

        def play(self, command: Command) -> None:
            assert self.world.told(command, self.now) == self.model.told(command, self.now), command

        def known(self, data: st.DataObject) -> tuple[tuple[str, str], Redemption]:
            key = data.draw(st.sampled_from(sorted(self.model.redemptions)))
            return key, self.model.redemptions[key]

        @rule(user=users, points=points, reference=ids, sign=st.sampled_from([1, 1, -1]))
        def post(self, user: str, points: int, reference: str, sign: int) -> None:
            self.play(Post(TENANT, user, sign * points, reference, "because"))

        @rule(user=st.sampled_from(USERS), below=st.integers(0, 30))
        def credit_up_to_the_limit(self, user: str, below: int) -> None:
            self.play(Post(TENANT, user, MOST - below, f"limit-{below}", "because"))

        @rule(user=users, vendor=vendors, name=ids, points=points, hold=holds)
        def commit(self, user: str, vendor: str, name: str, points: int, hold: timedelta) -> None:
            self.play(Commit(TENANT, vendor, name, user, points, "a mug", hold))

        @rule(user=users, vendor=vendors, name=ids)
        def confirm(self, user: str, vendor: str, name: str) -> None:
            self.play(Confirm(TENANT, vendor, name, user))

        @rule(user=users, vendor=vendors, name=ids)
        def roll_back(self, user: str, vendor: str, name: str) -> None:
            self.play(Rollback(TENANT, vendor, name, user))

        @rule(user=users, vendor=vendors, name=ids)
        def refund(self, user: str, vendor: str, name: str) -> None:
            self.play(Refund(TENANT, vendor, name, user, "1", 1))

        @precondition(lambda self: self.model.redemptions)
        @rule(data=st.data(), other=somebody_else, points=st.none() | points)
        def commit_what_is_there(self, data: st.DataObject, other: str | None, points: int | None) -> None:
            key, known = self.known(data)
            asked = points or known.points or 1
            self.play(Commit(TENANT, *key, other or known.user, asked, "a mug", timedelta(days=7)))

        @precondition(lambda self: self.model.redemptions)
        @rule(data=st.data(), other=somebody_else, points=st.none() | points)
        def confirm_what_is_there(self, data: st.DataObject, other: str | None, points: int | None) -> None:
            key, known = self.known(data)
            self.play(Confirm(TENANT, *key, other or known.user, points))

        @precondition(lambda self: self.model.redemptions)
        @rule(data=st.data(), other=somebody_else)
        def roll_back_what_is_there(self, data: st.DataObject, other: str | None) -> None:
            key, known = self.known(data)
            self.play(Rollback(TENANT, *key, other or known.user))

        @precondition(lambda self: any(r.state == "confirmed" for r in self.model.redemptions.values()))
        @rule(data=st.data(), other=somebody_else, refund=ids, points=few_points)
        def refund_what_was_deducted(self, data: st.DataObject, other: str | None, refund: str, points: int) -> None:
            confirmed = sorted(k for k, r in self.model.redemptions.items() if r.state == "confirmed")
            key = data.draw(st.sampled_from(confirmed))
            self.play(Refund(TENANT, *key, other or self.model.redemptions[key].user, refund, points))

        @precondition(lambda self: any(r.refunds for r in self.model.redemptions.values()))
        @rule(data=st.data())
        def refund_once_more(self, data: st.DataObject) -> None:
            refunded = sorted((k, *done) for k, r in self.model.redemptions.items() for done in r.refunds.items())
            key, refund, points = data.draw(st.sampled_from(refunded))
            self.play(Refund(TENANT, *key, self.model.redemptions[key].user, refund, points))

        @rule(seconds=st.sampled_from([0.5, 1, 4, 5, 700_000]))
        def time_passes(self, seconds: float) -> None:
            self.now += timedelta(seconds=seconds)

        @precondition(lambda self: self.model.redemptions)
        @rule(data=st.data())
        def time_passes_to_the_very_end_of_a_hold(self, data: st.DataObject) -> None:
            _, known = self.known(data)
            if known.expires_at is not None:
                self.now = max(self.now, known.expires_at)

        @invariant()
        def holds_at_every_instant(self) -> None:
            check_invariants(self.world, self.model, self.now)

    return LedgerMachine
