"""Holds a history against the contract. A pure function: the same history gives the same violations."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from history.balances import check_balances, final_states
from history.feeds import check_feeds
from history.ordering import what_has_no_order
from history.records import Call, History, TransactionKey, Violation


def check(history: History) -> list[Violation]:
    """All that the history breaks, the plainest first; empty where it breaks nothing."""
    states = final_states(history)
    expiries = expiries_of(history)
    found = [*_check_statuses(history), *_check_keys(history)]
    for key, calls in history.by_transaction().items():
        violation = what_has_no_order(calls, expiries.get(key))
        if violation is not None:
            found.append(violation)
    found += check_balances(history, states, expiries)
    found += check_feeds(history, states)
    found += [Violation(f"verify: {difference}") for difference in history.verified]
    return found


def expiries_of(history: History) -> dict[TransactionKey, float]:
    """When each hold ends, in seconds since 1970, as any answer told it first; the hold keeps that end."""
    found: dict[TransactionKey, float] = {}
    for call in history.calls:
        told = call.body.get("expiresat")
        if told is not None and call.transaction:
            found.setdefault(call.subject, datetime.fromisoformat(told).timestamp())
    return found


def _check_statuses(history: History) -> Iterator[Violation]:
    """A fault of the network or the database ends as 503, and no request of ours is malformed."""
    for call in history.calls:
        is_ours = call.outcome != "fail" or call.body.get("code") not in (None, "", "insufficient_scope")
        if (call.status is not None and call.status > 500 and call.status != 503) or call.status == 500 or not is_ours:
            yield Violation(f"an answer that the contract does not know: {call.status}", (str(call),))


def _check_keys(history: History) -> Iterator[Violation]:
    """One Idempotency-Key has one answer: one call gets it, all others get it replayed."""
    answers: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.key and call.outcome != "info":
            answers[call.key].append(call)
    for key, calls in answers.items():
        first = [call for call in calls if not call.replayed]
        different = Counter((call.status, repr(sorted(call.body.items()))) for call in calls)
        if len(first) > 1 or len(different) > 1:
            how = "acted more than once" if len(first) > 1 else "was answered differently"
            yield Violation(f"Idempotency-Key {key} {how}", tuple(map(str, calls)))
