"""A cursor leads on in the list for which it was given out, and nowhere else."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.identifiers import Identifier, is_identifier
from shared.paging import InvalidCursor, Listing, Number, Pages
from shared.times import Instant


class Place(NamedTuple):
    written_at: Instant
    name: Identifier


class Numbered(NamedTuple):
    number: Number


class Colour(StrEnum):
    RED = "red"


_MOMENT = datetime(2026, 11, 21, 8, 15, 30, 123456, UTC)
_PLACE = Place(_MOMENT, "tx/é 1")
EVENTS = Listing("events", Place)
ENTRIES = Listing("entries", Numbered)


def _pages() -> Pages[Place]:
    return EVENTS.of("demo", "shop", state=Colour.RED, since=_MOMENT)


def test_a_page_ends_with_the_cursor_of_the_next_one_and_the_last_one_with_none() -> None:
    pages = ENTRIES.of("demo", "erika")
    rows = [3, 4, 5]
    page = pages.cut(rows, 2, Numbered)
    assert page.items == [3, 4]
    assert pages.place(page.next_cursor) == Numbered(4)
    assert pages.cut(rows, 3, Numbered).next_cursor is None
    assert pages.cut([], 3, Numbered).next_cursor is None
    assert pages.place(None) is None


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=128).filter(is_identifier),
)
def test_every_place_comes_back_as_it_was(moment: datetime, name: str) -> None:
    place = Place(moment, name)
    assert _pages().place(_pages().cursor(place)) == place


def test_the_meaning_of_the_filters_counts_and_not_their_spelling() -> None:
    east = _MOMENT.astimezone(timezone(timedelta(hours=5)))
    again = EVENTS.of("demo", "shop", since=east, state="red", updated_since=None)
    assert again.place(_pages().cursor(_PLACE)) == _PLACE


@pytest.mark.parametrize(
    "other",
    [
        EVENTS.of("demo", "shop", state=Colour.RED),
        EVENTS.of("demo", "shop", state="blue", since=_MOMENT),
        EVENTS.of("demo", "shop", state="red", since=_MOMENT + timedelta(microseconds=1)),
        EVENTS.of("demo", "shop", state="red", until=_MOMENT),
        EVENTS.of("demo", "other shop", state="red", since=_MOMENT),
        EVENTS.of("demo", state="red", since=_MOMENT),
        EVENTS.of("other", "shop", state="red", since=_MOMENT),
        EVENTS.of("demo", "shop", "", state="red", since=_MOMENT),
        Listing("issuances", Place).of("demo", "shop", state="red", since=_MOMENT),
    ],
)
def test_another_list_other_filters_another_caller(other: Pages[Place]) -> None:
    with pytest.raises(InvalidCursor):
        other.place(_pages().cursor(_PLACE))


def _made_up(place: bytes) -> str:
    head = base64.urlsafe_b64decode(_pages().cursor(_PLACE) + "==")[:12]
    return base64.urlsafe_b64encode(head + place).rstrip(b"=").decode()


_GOOD = orjson.dumps([_MOMENT, "name"])


@pytest.mark.parametrize(
    "place",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[1]",
        b"\xff",
        b"[" * 700,
        _GOOD + b" 1",
        b'["2026-11-21T08:15:30","name"]',
        b'["0001-01-01T00:00:00+14:00","name"]',
        b'["9999-12-31T23:59:59-14:00","name"]',
        b'["99999-01-01T00:00:00Z","name"]',
        b'["infinity","name"]',
        b'[1e400,"name"]',
        b'["2026-11-21T08:15:30Z",7]',
        b'["2026-11-21T08:15:30Z",""]',
        rb'["2026-11-21T08:15:30Z","\u0000"]',
        rb'["2026-11-21T08:15:30Z","\ud800"]',
        b'["2026-11-21T08:15:30Z","name","more"]',
    ],
)
def test_a_place_that_no_row_can_have(place: bytes) -> None:
    assert _pages().place(_made_up(_GOOD)) is not None
    with pytest.raises(InvalidCursor):
        _pages().place(_made_up(place))


@pytest.mark.parametrize("number", ["-1", "9223372036854775808", "1e3", "1.0", "true", '"1"', "null", "9" * 500])
def test_a_number_that_no_row_can_have(number: str) -> None:
    pages = ENTRIES.of("demo", "erika")
    head = base64.urlsafe_b64decode(pages.cursor(Numbered(1)) + "==")[:12]
    with pytest.raises(InvalidCursor):
        pages.place(base64.urlsafe_b64encode(head + f"[{number}]".encode()).rstrip(b"=").decode())


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_what_somebody_made_up(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        _pages().place(cursor)


def test_one_cursor_has_one_spelling() -> None:
    cursor = _pages().cursor(_PLACE)
    for other in (cursor + "=", cursor + "\n", " " + cursor, cursor[:-1], cursor + "A", "A" * 5000, ""):
        with pytest.raises(InvalidCursor):
            _pages().place(other)


#: Made by the first version. Callers keep cursors for weeks, the ledger's `resume_cursor` above all.
_KEPT = {
    "events": (_pages(), _PLACE, "ARFIpJeb0BMUay2xWyIyMDI2LTExLTIxVDA4OjE1OjMwLjEyMzQ1NiswMDowMCIsInR4L8OpIDEiXQ"),
    "entries": (ENTRIES.of("demo", "erika"), Numbered(2**63 - 1), "AVXa7pOt8nXp3X8iWzkyMjMzNzIwMzY4NTQ3NzU4MDdd"),
}


@pytest.mark.parametrize("name", _KEPT)
def test_cursors_of_earlier_versions_stay_good(name: str) -> None:
    pages, place, cursor = _KEPT[name]
    assert pages.place(cursor) == place
