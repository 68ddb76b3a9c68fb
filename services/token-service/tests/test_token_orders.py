"""What may be ordered: durations, base URLs, attributes, and times; pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_service.tokens import orders
from token_service.tokens.orders import Order


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
    assert orders.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0", "-1", "1.5", "1e3", "P", "PT", "P1DT", "P1M", "P1Y", "1D", "pt1h", "PT1H ", "PT-1H", "PT0S"),
        *("P1.5DT1H", "PT1H1D", "P99999W", "315360001", "9" * 400, "P" + "9" * 80 + "D", "١", "PT1S\n", "forever"),
    ],
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|only"):
        orders.parse_duration(text)


def test_a_token_may_be_for_ever() -> None:
    assert orders.parse_duration("never") is None


@given(st.text(max_size=70))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        found = orders.parse_duration(text)
    except ValueError:
        return
    assert found is None or timedelta(seconds=1) <= found <= orders.MAX_DURATION


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
    order = Order("https://x.example", "c", "k", timedelta(hours=1), not_before=now + timedelta(hours=1))
    with pytest.raises(ValueError, match="not_before"):
        order.content(now)
    with pytest.raises(ValueError, match="fit"):
        order._replace(not_before=None, duration=timedelta(days=3650)).content(now.replace(year=2050))
