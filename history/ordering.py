"""Whether there is an order of a transaction's calls in which each answer is the right one.

The search of Wing and Gong: a call takes effect at one instant between its beginning and its end. Without an answer it
takes effect at any time from its beginning on, or never. A hold ends by itself at the instant that `expiresat` names.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from history.model import Redemption, Told, steps, told_by
from history.records import Call, Violation

#: The answer's times have milliseconds, of which the rest was cut off.
CUT_OFF_SECONDS = 0.001
#: More are never looked at for one transaction; the calls of a run need a few hundred.
MOST_PLACES = 2_000_000


class _Place(NamedTuple):
    """A point in the search: which calls have taken effect, and what came of them."""

    done: int
    redemption: Redemption | None
    #: Idempotency key → the first answer, in the order of the keys.
    kept: tuple[tuple[str, Told], ...]


class Undecided(Exception):
    """The search took too long."""


def has_order(calls: Sequence[Call], expires_at: float | None) -> bool:
    """Whether the answers can be explained.

    Args:
        expires_at: when the hold ends, in seconds since 1970; None where nobody knows.

    Raises:
        Undecided: after `MOST_PLACES`.
    """
    calls = sorted(calls, key=lambda call: call.began)
    answered = sum(1 << n for n, call in enumerate(calls) if call.outcome != "info")
    start = _Place(0, None, ())
    seen = {start}
    waiting: list[tuple[_Place, float]] = [(start, 0.0)]
    while waiting:
        place, since = waiting.pop()
        if place.done & answered == answered:
            return True
        for found in _next(calls, place, since, expires_at):
            if found[0] not in seen:
                seen.add(found[0])
                waiting.append(found)
        if len(seen) > MOST_PLACES:
            raise Undecided
    return False


def _next(
    calls: Sequence[Call], place: _Place, since: float, expires_at: float | None
) -> Iterator[tuple[_Place, float]]:
    """Places one step further, with the earliest instant at which they can be.

    Args:
        since: the same for `place`.
    """
    open_calls = [(n, call) for n, call in enumerate(calls) if not place.done >> n & 1]
    answered = [call for _, call in open_calls if call.outcome != "info"]
    # What has begun after another had ended comes behind it.
    until = min((call.ended for call in answered if call.ended is not None), default=math.inf)
    until_at = min((call.ended_at for call in answered if call.ended_at is not None), default=math.inf)
    for n, call in open_calls:
        if call.began > until:
            break
        at = max(since, call.began_at)
        now = place.redemption
        if now is None or now.state != "held" or expires_at is None:
            yield from _take(call, n, place, now, at)
            if now is not None and now.state == "held":
                yield from _take(call, n, place, now._replace(state="expired"), at)
            continue
        if at < expires_at + CUT_OFF_SECONDS:
            yield from _take(call, n, place, now, at)
        if until_at >= expires_at:
            yield from _take(call, n, place, now._replace(state="expired"), max(at, expires_at))


def _take(call: Call, n: int, place: _Place, now: Redemption | None, at: float) -> Iterator[tuple[_Place, float]]:
    done = place.done | 1 << n
    kept = dict(place.kept)
    is_open = call.outcome == "info"
    if call.key and call.key in kept:
        if not is_open and call.replayed and told_by(call) == kept[call.key]:
            yield _Place(done, now, place.kept), at
        return
    if call.replayed:
        return
    for told, then in steps(call, now):
        if not is_open and told != told_by(call):
            continue
        if call.key:
            after = tuple(sorted((kept | {call.key: told}).items()))
        elif is_open and then == now:
            continue  # nothing comes of it
        else:
            after = place.kept
        yield _Place(done, then, after), at


def what_has_no_order(calls: Sequence[Call], expires_at: float | None) -> Violation | None:
    """None where the answers can be explained; else the excerpt that shows that they cannot."""
    try:
        if has_order(calls, expires_at):
            return None
    except Undecided:
        return Violation(f"undecided: {_named(calls)} has too many calls", tuple(map(str, calls)))
    excerpt = _shortest(calls, expires_at)
    what = f"no order of the calls explains the answers to {_named(calls)}"
    if expires_at is not None:
        what += f" (its hold ends at {expires_at:.3f})"
    return Violation(
        what, tuple(f"{call}  [{_times(call)}]" if expires_at is not None else str(call) for call in excerpt)
    )


def _named(calls: Sequence[Call]) -> str:
    return f"transaction {calls[0].transaction} of vendor {calls[0].vendor}"


def _times(call: Call) -> str:
    return f"{call.began_at:.3f} – {'…' if call.ended_at is None else f'{call.ended_at:.3f}'}"


def _shortest(calls: Sequence[Call], expires_at: float | None) -> list[Call]:
    """The shortest beginning that has no order, without the calls that are not needed for that."""
    excerpt = list(calls)
    for end in sorted(call.ended for call in calls if call.ended is not None and call.outcome != "info"):
        excerpt = [_as_of(call, end) for call in calls if call.began < end]
        if not has_order(excerpt, expires_at):
            break
    # Without an answer there are more orders, never fewer. Calls whose answers do not matter stay in what is tried,
    # since they may have happened, and are not shown where they were refused or only read.
    hidden: set[int] = set()
    for call in sorted(excerpt, key=lambda call: call.began):
        if call.outcome == "ok" and call.operation != "look_up":
            continue
        weaker = [other for other in excerpt if other is not call]
        if call.operation != "look_up":
            weaker.append(_as_of(call, call.began))
        if not has_order(weaker, expires_at):
            excerpt = weaker
            if call.outcome == "fail" or call.operation == "look_up":
                hidden.add(call.number)
    return sorted((call for call in excerpt if call.number not in hidden), key=lambda call: call.began)


def _as_of(call: Call, end: int) -> Call:
    """The call, without an answer that came later than at `end`."""
    if call.ended is None or call.ended <= end:
        return call
    return Call(
        call.number, call.process, call.operation, call.began, call.began_at, call.vendor, call.transaction,
        call.user, call.points, call.reference, call.key,
    )  # fmt: skip
