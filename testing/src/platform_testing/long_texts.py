"""Texts that would cost a service seconds, if it did anything but refuse them."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

#: Alternating classes, so that sorting them moves each past half of the others.
PILE = "a" + "\u0301\u0323" * 40_000
#: What fits into an address: some servers refuse longer ones by themselves.
SHORT_PILE = "a" + "\u0301\u0323" * 300
#: Marks that may be sorted at once.
_MOST_MARKS = 64


class Work:
    """What was spent on text while it was watched."""

    def __init__(self) -> None:
        self.longest_pile = 0
        self.calls = 0

    def is_bounded(self) -> bool:
        return self.longest_pile <= _MOST_MARKS


@contextmanager
def watched_work() -> Iterator[Work]:
    """Counts, in this block, how many marks on one character anything sorts: its time is their square."""
    work, normalize = Work(), unicodedata.normalize

    def counted(form: Any, text: str) -> str:
        work.calls += 1
        pile = 0
        for character in text:
            pile = pile + 1 if unicodedata.combining(character) else 0
            work.longest_pile = max(work.longest_pile, pile)
        return normalize(form, text) if work.longest_pile <= _MOST_MARKS else text

    with mock.patch.object(unicodedata, "normalize", counted):
        yield work


def pile_up(_case: Any, sent: dict[str, Any], number: int) -> None:
    """Puts a pile into one text of a made-up request: for `platform_testing.openapi.try_all`."""
    body = next((part for part in ("json", "data") if isinstance(sent.get(part), dict | list)), None)
    places = list(_texts_in(sent, body)) if body is not None else []
    if places:
        holder, name = places[number % len(places)]
        holder[name] = PILE if body == "json" else SHORT_PILE
        return
    params = sent.get("params")
    if isinstance(params, dict) and params:
        sent["params"] = params | {list(params)[number % len(params)]: SHORT_PILE}


def _texts_in(holder: Any, name: Any) -> Iterator[tuple[Any, Any]]:
    value = holder[name]
    if isinstance(value, str):
        yield holder, name
    elif isinstance(value, dict):
        for inner in list(value):
            yield from _texts_in(value, inner)
    elif isinstance(value, list):
        for place in range(len(value)):
            yield from _texts_in(value, place)
