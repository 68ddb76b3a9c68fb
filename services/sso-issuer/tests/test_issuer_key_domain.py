"""The life of keys as pure decisions: whatever is done and whenever, the promises of the key set hold."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sso_issuer.keys import domain
from sso_issuer.keys.domain import KEY_SET_LIFETIME, Algorithm, Key, KeyState, Schedule

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULE = Schedule(rotate_every=timedelta(days=30))


def _fresh(n: int, now: datetime) -> Key:
    return Key(
        tenant="demo",
        kid=f"key-{n}",
        algorithm=Algorithm.ES256,
        state=KeyState.NEXT,
        published_at=now,
        signs_from=now,
    )


@dataclass
class Seen:
    """What an observer who writes everything down knows of one key."""

    published_at: datetime
    signed: list[datetime] = field(default_factory=list)
    gone_at: datetime | None = None


class KeysInTime(RuleBasedStateMachine):
    """Time passes in leaps, people rotate, and somebody always has tokens in hand."""

    @initialize()
    def begin(self) -> None:
        self.now = BEGIN
        self.made = 1
        self.keys = domain.publish([], _fresh(0, self.now), self.now, SCHEDULE)
        self.seen: dict[str, Seen] = {}
        self.hurried: set[str] = set()
        self.revoked = False
        self._observe()

    @rule(seconds=st.integers(1, 40 * 86_400) | st.integers(1, 400))
    def let_time_pass(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.upkeep()

    @rule()
    def upkeep(self) -> None:
        self.keys = domain.advance(self.keys, self.now, SCHEDULE)
        assert domain.advance(self.keys, self.now, SCHEDULE) == self.keys
        if domain.is_rotation_due(self.keys, self.now, SCHEDULE):
            self.rotate()
        self._observe()

    @rule()
    def rotate(self) -> None:
        self.keys = domain.publish(self.keys, self._next_key(), self.now, SCHEDULE)
        self._observe()

    @rule()
    def rotate_at_once(self) -> None:
        self.keys = domain.replace_at_once(self.keys, self._next_key(), self.now, SCHEDULE)
        self.hurried.add(self._active().kid)
        self._observe()

    @rule()
    def revoke(self) -> None:
        self.keys = domain.revoke_all(self.keys, self._next_key(), self.now)
        self.hurried.add(self._active().kid)
        self.seen = {}
        self._observe()
        assert [key.state for key in self.keys if key.state is not KeyState.RETIRED] == [KeyState.ACTIVE]

    @invariant()
    def exactly_one_signs_and_at_most_one_waits(self) -> None:
        states = [key.state for key in self.keys]
        assert states.count(KeyState.ACTIVE) == 1
        assert states.count(KeyState.NEXT) <= 1

    @invariant()
    def nobody_meets_an_unknown_key(self) -> None:
        """Unless in a hurry, a key has been public for a key set's lifetime before it signs."""
        active = self._active()
        is_first = active.published_at == BEGIN
        if not is_first and active.kid not in self.hurried:
            assert active.activated_at is not None
            assert active.activated_at - active.published_at >= KEY_SET_LIFETIME

    @invariant()
    def every_token_can_be_verified_until_it_expires(self) -> None:
        public = {key.kid for key in self.keys if key.state is not KeyState.RETIRED}
        for kid, seen in self.seen.items():
            if any(signed + SCHEDULE.keep_published > self.now for signed in seen.signed):
                assert kid in public

    def _active(self) -> Key:
        return next(key for key in self.keys if key.state is KeyState.ACTIVE)

    def _next_key(self) -> Key:
        self.made += 1
        return _fresh(self.made, self.now)

    def _observe(self) -> None:
        active = self._active()
        self.seen.setdefault(active.kid, Seen(self.now)).signed.append(self.now)


TestKeysInTime = KeysInTime.TestCase
TestKeysInTime.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_key_is_succeeded_on_the_day_with_its_successor_long_public() -> None:
    keys = domain.publish([], _fresh(0, BEGIN), BEGIN, SCHEDULE)
    eve = BEGIN + SCHEDULE.rotate_every - SCHEDULE.publish_ahead
    assert not domain.is_rotation_due(keys, eve - timedelta(seconds=1), SCHEDULE)
    assert domain.is_rotation_due(keys, eve, SCHEDULE)
    keys = domain.publish(keys, _fresh(1, eve), eve, SCHEDULE)
    assert not domain.is_rotation_due(keys, eve, SCHEDULE)
    day = BEGIN + SCHEDULE.rotate_every
    assert domain.advance(keys, day - timedelta(seconds=1), SCHEDULE) == keys
    former, successor = domain.advance(keys, day, SCHEDULE)
    assert (former.state, successor.state) == (KeyState.RETIRING, KeyState.ACTIVE)
    assert former.published_until == day + SCHEDULE.keep_published
    former, successor = domain.advance([former, successor], day + SCHEDULE.keep_published, SCHEDULE)
    assert (former.state, successor.state) == (KeyState.RETIRED, KeyState.ACTIVE)
