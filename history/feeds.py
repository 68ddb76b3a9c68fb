"""Whether the events tell what has happened: each transition once, in order for each transaction, and nothing else."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from history.records import History, TransactionKey, Violation

_ENDS = {"confirmed": "points.confirmed", "rolled_back": "points.rolled_back", "expired": "points.expired"}
_POSTED = {"points.credited": "credit", "points.debited": "debit"}


def check_feeds(history: History, states: Mapping[TransactionKey, Mapping[str, Any]]) -> list[Violation]:
    """What the feeds tell twice, in the wrong order, wrongly, or not at all."""
    refunds: dict[TransactionKey, Counter[tuple[str, int]]] = defaultdict(Counter)
    for entries in history.statements.values():
        for entry in entries:
            if entry["kind"] == "refund":
                key = TransactionKey(entry["vendor_id"], entry["transactionid"])
                refunds[key][entry["refundid"], entry["points"]] += 1
    found: list[Violation] = []
    for reader, events in history.feeds.items():
        found += _check_ids(reader, [event["id"] for event in events])
        if reader == "platform":
            found += _check_postings(history, events)
            continue
        told: dict[TransactionKey, list[dict[str, Any]]] = defaultdict(list)
        for event in events:
            told[TransactionKey(reader, event["data"]["transactionid"])].append(event)
        mine = {key for key in states if key.vendor == reader}
        for key in sorted(mine | told.keys()):
            found += _check_transaction(key, states.get(key), told[key], refunds[key])
    found += _check_follower(history)
    return found


def _check_ids(reader: str, ids: Sequence[str]) -> Iterable[Violation]:
    twice = [event for event, count in Counter(ids).items() if count > 1]
    if twice:
        yield Violation(f"{reader} sees events twice: {', '.join(twice[:5])}")


def _check_follower(history: History) -> Iterable[Violation]:
    yield from _check_ids("who follows the feed", history.followed)
    all_of_them = [event["id"] for event in history.feeds.get("platform", [])]
    if history.followed == all_of_them or not history.followed:
        return
    missed = set(all_of_them) - set(history.followed)
    if missed:
        yield Violation(f"who follows the feed missed {len(missed)} events: {', '.join(sorted(missed)[:5])}")
    else:
        yield Violation("who follows the feed saw the events in another order than it has later")


def _check_transaction(
    key: TransactionKey,
    state: Mapping[str, Any] | None,
    events: list[dict[str, Any]],
    refunds: Counter[tuple[str, int]],
) -> Iterable[Violation]:
    told = [event["type"] for event in events]
    wanted: list[str] = []
    if state is not None and state["state"] not in ("rejected", "cancelled"):
        wanted.append("points.held")
        if state["state"] in _ENDS:
            wanted.append(_ENDS[state["state"]])
        wanted += ["points.refunded"] * refunds.total()
    name = f"transaction {key.transaction} of vendor {key.vendor}"
    excerpt = tuple(f"{event['type']} {event['data']}" for event in events)
    if told != wanted:
        is_now = "was never made" if state is None else f"is {state['state']} at the end"
        yield Violation(
            f"{name} {is_now}, whose events are {', '.join(wanted) or 'none'}; told were {', '.join(told) or 'none'}",
            excerpt,
        )
        return
    given = Counter(
        (event["data"]["refundid"], event["data"]["refundedpoints"])
        for event in events
        if event["type"] == "points.refunded"
    )
    if given != refunds:
        yield Violation(f"{name}: the events tell of other refunds than its entries", excerpt)
    for event in events:
        data = event["data"]
        expected = "confirmed" if event["type"] == "points.refunded" else event["type"].removeprefix("points.")
        if state is not None and (data["state"], data["userid"]) != (expected, state["userid"]):
            yield Violation(f"{name}: an event tells of another state or user", (f"{event['type']} {data}",))
    sums = [event["data"]["pointsrefunded"] for event in events if event["type"] == "points.refunded"]
    if any(later <= earlier for earlier, later in pairwise([0, *sums])):
        yield Violation(f"{name}: its refunds are told in the wrong order", excerpt)


def _check_postings(history: History, events: list[dict[str, Any]]) -> Iterable[Violation]:
    told = Counter(
        (_POSTED[event["type"]], event["data"]["user_id"], event["data"]["reference"], event["data"]["balance"])
        for event in events
        if event["type"] in _POSTED
    )
    there = Counter(
        (entry["kind"], user, entry["reference"], entry["balance"])
        for user, entries in history.statements.items()
        for entry in entries
        if entry["kind"] in _POSTED.values()
    )
    for posting in (there - told) | (told - there):
        yield Violation(
            f"{' '.join(map(str, posting))}: there are {there[posting]} entries and {told[posting]} events of it"
        )
