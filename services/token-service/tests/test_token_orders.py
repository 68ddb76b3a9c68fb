"""What may be ordered: durations, base URLs, attributes, and times; pure."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared.durations import MAX_DURATION, CalendarDuration, parse_duration
from token_service.tokens import lifetimes, orders
from token_service.tokens.terms import Order, Terms


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1),
        ("86400", 86400),
        ("PT24H", 86400),
        ("P1D", 86400),
        ("P1W", 604800),
        ("P1DT12H30M5S", 131405),
        ("PT1.5H", 5400),
        ("PT0,5M", 30),
        ("PT36000S", 36000),
    ],
)
def test_durations_are_seconds_or_iso_8601(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "0",
            "-1",
            "1.5",
            "1e3",
            "P",
            "PT",
            "P1DT",
            "P1.5M",
            "P11Y",
            "P121M",
            "P10Y1D",
            "P0M",
            "1D",
            "pt1h",
            "PT1H ",
            "PT-1H",
            "PT0S",
        ),
        *("P1.5M", "P11Y", "P121M", "P10Y1D", "P0M"),
        *("P1.5DT1H", "PT1H1D", "P99999W", "315360001", "9" * 400, "P" + "9" * 80 + "D", "١", "PT1S\n", "forever"),
    ],
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|only"):
        parse_duration(text)


def test_a_token_may_be_for_ever() -> None:
    assert parse_duration("never") is None


@given(st.text(max_size=70))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        found = parse_duration(text)
    except ValueError:
        return
    assert found is None or isinstance(found, CalendarDuration) or timedelta(seconds=1) <= found <= MAX_DURATION


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "issued_at", "not_before", "end"),
    [
        # In Berlin it is 2 a.m. in winter and 1 a.m. in summer where it is 1 a.m. and midnight in UTC.
        ("P1M", "2026-03-01T12:00:00+00:00", None, "2026-04-01T11:00:00+00:00"),
        ("P1M", "2026-01-31T12:00:00+00:00", None, "2026-02-28T12:00:00+00:00"),
        ("P1Y", "2028-02-29T12:00:00+00:00", None, "2029-02-28T12:00:00+00:00"),
        ("P1Y2M3DT4H", "2026-01-01T00:00:00+00:00", None, "2027-03-04T04:00:00+00:00"),
        # It is the 1st already in Berlin.
        ("P1M", "2026-01-31T23:30:00+00:00", None, "2026-02-28T23:30:00+00:00"),
        ("P1M", "2026-01-01T00:00:00+00:00", "2026-06-30T22:00:00+00:00", "2026-07-31T22:00:00+00:00"),
        ("P31D", "2026-01-01T00:00:00+00:00", "2026-01-10T00:00:00+00:00", "2026-02-01T00:00:00+00:00"),
        ("P10Y", "2026-01-01T00:00:00+00:00", None, "2036-01-01T00:00:00+00:00"),
    ],
)
def test_months_are_counted_in_the_tenants_zone_from_not_before_or_now(
    text: str, issued_at: str, not_before: str | None, end: str
) -> None:
    begin = None if not_before is None else datetime.fromisoformat(not_before)
    found = lifetimes.end_of(parse_duration(text), datetime.fromisoformat(issued_at), begin, BERLIN)
    assert found == datetime.fromisoformat(end)


@pytest.mark.parametrize("days", [-1, 0, 3654])
def test_an_end_in_the_past_or_beyond_ten_years_is_refused(days: int) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="must"):
        lifetimes.end_of(now + timedelta(days=days), now, None, BERLIN)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://mystore.com/promotions", "https://mystore.com/promotions"),
        ("https://mystore.com/promotions/", "https://mystore.com/promotions"),
        ("https://mystore.com", "https://mystore.com"),
        ("https://mystore.com:8443/a%20b", "https://mystore.com:8443/a%20b"),
        ("https://[::1]/x", "https://[::1]/x"),
    ],
)
def test_base_urls(url: str, kept: str) -> None:
    assert orders.check_base_url(url, plain_http=False) == kept


@pytest.mark.parametrize(
    "url",
    [
        *("http://mystore.com", "ftp://mystore.com", "//mystore.com", "mystore.com", "javascript:alert(1)", "https://"),
        *("https:///x", "https://user@mystore.com", "https://user:secret@mystore.com", "https://mystore.com/#a"),
        *("https://mystore.com/?a=b", "https://mystore.com/a b", "https://mystore.com/\n", "https://mystore.com:x/"),
        *("https://mystore.com:99999/", "https://my\\store.com", "https://bücher.example", "https://[::1", "https://@"),
        *(
            "https://.mystore.com",
            "https://mystore.com/<b>",
            "https://my_store\x00.com",
            "https://x.example/" + "a" * 1024,
        ),
    ],
)
def test_other_base_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        orders.check_base_url(url, plain_http=False)


def test_plain_http_is_for_development() -> None:
    assert orders.check_base_url("http://localhost:8000/t", plain_http=True) == "http://localhost:8000/t"


@pytest.mark.parametrize(
    "attributes",
    [
        {"a": [1]},
        {"a": {}},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**60},
        {"": 1},
        {"a\0": 1},
        {"a": "b\0"},
        {"a": "\ud800"},
        {"a": "x" * 501},
        {str(number): 1 for number in range(51)},
        {str(number): "x" * 400 for number in range(20)},
    ],
)
def test_attributes_that_could_not_be_kept_or_shown_are_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        orders.pack_attributes(attributes)


def test_attributes_are_packed_in_one_way() -> None:
    assert orders.pack_attributes({"b": None, "a": "ü"}) == '{"a":"ü","b":null}'
    assert orders.pack_attributes({}) is None


def test_a_token_that_would_never_be_good_is_refused() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    terms = Terms("c", "k", "https://x.example", not_before=now + timedelta(hours=1))
    with pytest.raises(ValueError, match="not_before"):
        Order(terms, timedelta(hours=1)).content(now, BERLIN)
    with pytest.raises(ValueError, match="fit"):
        Order(terms._replace(not_before=None), timedelta(days=3650)).content(now.replace(year=2050), BERLIN)
