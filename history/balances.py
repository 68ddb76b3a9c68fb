"""Whether every balance that anybody saw can have been one.

What a call does to an account it does at one instant between its beginning and its end, or, without an answer, at any
time or never. So each balance that was read lies between the least and the most that the effects allow which may, or
must, have been there while it was read. At the end nothing is open any more, and every entry has its cause.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from history.ordering import CUT_OFF_SECONDS
from history.records import Call, History, TransactionKey, Violation

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Effect:
    """One step of what a transaction or a posting does to an account.

    Args:
        earliest, latest: seconds between which it happened.
        available, held: what it adds.
    """

    earliest: float
    latest: float
    available: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Cause:
    """A transaction or posting: its effects in their order."""

    name: str
    effects: tuple[Effect, ...]

    @property
    def settled(self) -> float:
        return max(effect.latest for effect in self.effects)

    def during(self, began: float, ended: float) -> Iterator[Pair]:
        """All sums of effects that an observer may have met in this time, as (available, held)."""
        available = held = 0
        if not any(effect.latest < began for effect in self.effects[:1]):
            yield 0, 0
        for place, effect in enumerate(self.effects):
            if effect.earliest > ended:
                return
            available += effect.available
            held += effect.held
            following = self.effects[place + 1 : place + 2]
            if not any(later.latest < began for later in following):
                yield available, held


@dataclass(frozen=True, slots=True)
class Seen:
    """A balance that was read."""

    call: Call
    began: float
    ended: float
    available: int
    held: int | None


def final_states(history: History) -> dict[TransactionKey, Mapping[str, Any]]:
    """Transaction → what the last look at it showed; without those that nobody has made."""
    return {
        call.subject: call.body
        for call in history.calls
        if call.process == "auditor" and call.transaction and call.outcome == "ok"
    }


def check_balances(
    history: History, states: Mapping[TransactionKey, Mapping[str, Any]], expiries: Mapping[TransactionKey, float]
) -> list[Violation]:
    """One violation for each account that was seen, or ended, otherwise than its causes allow."""
    causes = causes_of(history, states, expiries)
    found = [*_check_entries(history, states)]
    for user, seen in _seen_of(history).items():
        found += _check_seen(user, seen, causes.get(user, []))
    for user, account in history.accounts.items():
        found += _check_end(user, account, causes.get(user, []), history.statements.get(user, []))
    return found


def causes_of(
    history: History, states: Mapping[TransactionKey, Mapping[str, Any]], expiries: Mapping[TransactionKey, float]
) -> dict[str, list[Cause]]:
    """User → all that has changed the account."""
    found: dict[str, list[Cause]] = defaultdict(list)
    refunds: dict[TransactionKey, dict[str, int]] = defaultdict(dict)
    posted = set()
    for user, entries in history.statements.items():
        for entry in entries:
            if entry["kind"] == "refund":
                key = TransactionKey(entry["vendor_id"], entry["transactionid"])
                refunds[key][entry["refundid"]] = entry["points"]
            elif entry["kind"] in ("credit", "debit"):
                posted.add((user, entry["kind"], entry["reference"]))
    for key, calls in history.by_transaction().items():
        state = states.get(key)
        if state is not None and state["state"] not in ("rejected", "cancelled"):
            name, mine = f"{key.vendor} {key.transaction}", found[state["userid"]]
            mine.append(Cause(name, tuple(_effects(calls, state, expiries.get(key)))))
            # Each by itself, since their order is not known.
            mine += (_refund(name, calls, refund, points) for refund, points in refunds[key].items())
    postings: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.operation in ("credit", "debit"):
            postings[call.user, call.operation, call.reference].append(call)
    for (user, operation, reference), calls in postings.items():
        if (user, operation, reference) in posted:
            points = (calls[0].points or 0) * (1 if operation == "credit" else -1)
            earliest, latest = _window(calls, lambda call: True, lambda call: call.outcome == "ok")
            found[user].append(Cause(f"{operation} {reference}", (Effect(earliest, latest, points),)))
    return found


def _window(
    calls: Iterable[Call], may_do_it: Callable[[Call], bool], shows_it: Callable[[Call], bool]
) -> tuple[float, float]:
    """Between when an effect has happened, by the calls that may have had it and those whose answers show it."""
    calls = list(calls)
    earliest = min((call.began_at for call in calls if may_do_it(call)), default=math.inf)
    ends = (call.ended_at for call in calls if call.ended_at is not None and shows_it(call))
    return earliest, max(earliest, min(ends, default=math.inf))


def _effects(calls: list[Call], final: Mapping[str, Any], expires_at: float | None) -> Iterator[Effect]:
    points, state = final["pointsrequested"], final["state"]
    ended = {"confirmed", "rolled_back", "expired"}
    shown = {"held", *ended}
    earliest, latest = _window(
        calls, lambda call: call.operation == "commit", lambda call: call.body.get("state") in shown
    )
    yield Effect(earliest, latest, -points, points)
    if state == "expired" and expires_at is not None:
        yield Effect(expires_at, expires_at + CUT_OFF_SECONDS, points, -points)
    elif state in ended:
        deducted = final["pointsdeducted"] if state == "confirmed" else 0
        operation = "confirm" if state == "confirmed" else "rollback"
        earliest, latest = _window(
            calls, lambda call: call.operation == operation, lambda call: call.body.get("state") in ended
        )
        yield Effect(earliest, latest, points - deducted, -points)


def _refund(name: str, calls: list[Call], refund: str, points: int) -> Cause:
    asked = [call for call in calls if call.operation == "refund" and call.reference == refund]
    earliest, latest = _window(asked, lambda call: True, lambda call: call.outcome == "ok")
    return Cause(f"{name} {refund}", (Effect(earliest, latest, points),))


def _seen_of(history: History) -> dict[str, list[Seen]]:
    """User → the balances that callers were told, by when they asked. An answer that is replayed tells an old one."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for call in history.calls:
        if call.ended_at is not None and not call.replayed and "available" in call.body and call.process != "auditor":
            held = call.body.get("held")
            found[call.user].append(Seen(call, call.began_at, call.ended_at, call.body["available"], held))
    for seen in found.values():
        seen.sort(key=lambda one: one.began)
    return found


def _check_seen(user: str, seen: Iterable[Seen], causes: Iterable[Cause]) -> Iterator[Violation]:
    waiting = sorted(causes, key=lambda cause: cause.effects[0].earliest, reverse=True)
    running: list[Cause] = []
    available = held = 0
    for one in seen:
        while waiting and waiting[-1].effects[0].earliest <= one.ended:
            running.append(waiting.pop())
        settled = [cause for cause in running if cause.settled < one.began]
        if settled:
            running = [cause for cause in running if cause.settled >= one.began]
            available += sum(effect.available for cause in settled for effect in cause.effects)
            held += sum(effect.held for cause in settled for effect in cause.effects)
        open_sums = [(cause, tuple(cause.during(one.began, one.ended))) for cause in running]
        for name, told, sure, place in (
            ("available", one.available, available, 0),
            ("held", one.held, held, 1),
        ):
            least = sure + sum(min(pair[place] for pair in pairs) for _, pairs in open_sums)
            most = sure + sum(max(pair[place] for pair in pairs) for _, pairs in open_sums)
            if told is not None and (told < 0 or not least <= told <= most):
                yield Violation(
                    f"account {user}: {name} was said to be {told}, which lies not between {max(least, 0)} and {most}",
                    (
                        str(one.call),
                        f"sure before it: {sure}; open while it was read:",
                        *(
                            f"  {cause.name}: one of {sorted({pair[place] for pair in pairs})}"
                            for cause, pairs in open_sums
                            if len(set(pairs)) > 1
                        ),
                    ),
                )
                return


def _check_end(
    user: str, account: Mapping[str, Any], causes: Iterable[Cause], entries: list[dict[str, Any]]
) -> Iterator[Violation]:
    effects = [effect for cause in causes for effect in cause.effects]
    available, held = sum(effect.available for effect in effects), sum(effect.held for effect in effects)
    for name, told, wanted, because in (
        ("available", account["available"], available, "all that has happened"),
        ("held", account["held"], held, "its open holds"),
        ("total", account["total"], sum(entry["points"] for entry in entries), "its entries"),
        ("total", account["total"], account["available"] + account["held"], "available and held"),
    ):
        if told != wanted or told < 0:
            yield Violation(f"account {user}: at the end its {name} is {told}, but {because} add up to {wanted}")
    running = 0
    for place, entry in enumerate(entries, start=1):
        running += entry["points"]
        if entry["number"] != place or entry["balance"] != running:
            yield Violation(
                f"account {user}: entry {place} of its statement is numbered {entry['number']} with the balance"
                f" {entry['balance']}, where the entries add up to {running}",
                (str(entry),),
            )
            return


def _check_entries(history: History, states: Mapping[TransactionKey, Mapping[str, Any]]) -> Iterator[Violation]:
    """Every acknowledged effect has one entry; no entry is without a cause that asked for it, or stands there twice."""
    wanted: Counter[tuple[str, ...]] = Counter()
    allowed: set[tuple[str, ...]] = set()
    causes: dict[tuple[str, ...], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.operation in ("credit", "debit", "refund") and call.outcome != "fail":
            entry = _named_by(call)
            causes[entry].append(call)
            allowed.add(entry)
            if call.outcome == "ok":
                wanted[entry] = 1
    for key, state in states.items():
        if state["pointsdeducted"] > 0:
            entry = ("redemption", state["userid"], key.vendor, key.transaction, "", str(-state["pointsdeducted"]))
            wanted[entry] = 1
            allowed.add(entry)
    there = Counter(_name_of(user, entry) for user, entries in history.statements.items() for entry in entries)
    for entry in wanted:
        if not there[entry]:
            told = tuple(str(call) for call in causes[entry] if call.outcome == "ok")
            yield Violation(f"acknowledged, but no entry: {_say(entry)}", told[:1])
    for entry, count in there.items():
        # What was refused may have happened all the same, where the network had made a copy of it.
        if entry not in allowed:
            yield Violation(f"an entry that nobody asked for: {_say(entry)}")
        elif count > 1:
            yield Violation(f"{count} entries of one cause: {_say(entry)}", tuple(map(str, causes[entry])))
    refunded: Counter[TransactionKey] = Counter()
    for entries in history.statements.values():
        for found in entries:
            if found["kind"] == "refund":
                refunded[TransactionKey(found["vendor_id"], found["transactionid"])] += found["points"]
    for key, state in states.items():
        if refunded[key] != state["pointsrefunded"]:
            yield Violation(
                f"transaction {key.transaction} of vendor {key.vendor} says that {state['pointsrefunded']} points were"
                f" given back, its entries say {refunded[key]}"
            )


def _named_by(call: Call) -> tuple[str, ...]:
    points = (call.points or 0) * (-1 if call.operation == "debit" else 1)
    return (call.operation, call.user, call.vendor, call.transaction, call.reference, str(points))


def _name_of(user: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    if entry["kind"] in ("redemption", "refund"):
        subject = (entry["vendor_id"], entry["transactionid"], entry["refundid"] or "")
    else:
        subject = ("", "", entry["reference"])
    return (entry["kind"], user, *subject, str(entry["points"]))


def _say(entry: tuple[str, ...]) -> str:
    return " ".join(part for part in entry if part)
