"""Ids that others choose, words for people, and times: what is taken and how it is written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from shared.identifiers import Identifier, PlainText, Tenant, is_identifier
from shared.times import Timestamp, iso

identifier: TypeAdapter[str] = TypeAdapter(Identifier)
tenant: TypeAdapter[str] = TypeAdapter(Tenant)
plain_text: TypeAdapter[str] = TypeAdapter(PlainText)


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "ada@example.org",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "order 7/2026 (part 2)",
        "%2e%2e",
        "<script>'\"",
        "Jürgen",
        "用户",
        "пользователь",
        "🎉",
        "a" * 128,
        "🎉" * 128,
    ],
)
def test_an_id_is_any_printable_text(value: str) -> None:
    assert identifier.validate_python(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        " a",
        "a ",
        "\u00a0a",
        "a\u3000",
        "a\0",
        "\0",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\x1bb",
        "a\x7f",
        "a\x85b",
        "\ud800",
        "a\udfff",
        "a\u200bb",
        "a\u200db",
        "a\u2060b",
        "a\ufeffb",
        "a\u00adb",
        "a\u202eb",
        "a\u2066b",
        "a\N{COMBINING GRAPHEME JOINER}b",
        "\N{HANGUL CHOSEONG FILLER}",
        "a\N{HANGUL FILLER}b",
        "\N{HALFWIDTH HANGUL FILLER}a",
        "a\N{KHMER VOWEL INHERENT AQ}",
        "a\N{MONGOLIAN FREE VARIATION SELECTOR ONE}",
        "a\N{MONGOLIAN FREE VARIATION SELECTOR FOUR}",
        "a\N{VARIATION SELECTOR-1}",
        "❤\N{VARIATION SELECTOR-16}",
        "a\N{VARIATION SELECTOR-256}",
        "a\u2028b",
        "a\u2029b",
        "a\ue000",
        "a\uffff",
        "a\N{REPLACEMENT CHARACTER}b",
        "a" * 129,
        7,
        7.0,
        True,
        None,
        b"a",
        ["a"],
    ],
    ids=repr,
)
def test_what_cannot_be_stored_or_seen_is_no_id(value: object) -> None:
    with pytest.raises(ValidationError):
        identifier.validate_python(value)


@given(st.text(max_size=140))
def test_an_id_can_be_stored_and_shown(value: str) -> None:
    if is_identifier(value):
        assert value.encode().decode() == value
        assert "\0" not in value
        assert len(value.splitlines()) == 1
        assert identifier.validate_python(value) == value


@pytest.mark.parametrize("value", ["demo", "a", "0", "a-b", "a" * 40])
def test_a_tenant_is_a_short_word(value: str) -> None:
    assert tenant.validate_python(value) == value


@pytest.mark.parametrize("value", ["", "-a", "A", "a_b", "a.b", "a/b", "..", "é", "a\n", "a" * 41, "٣", 7, None])
def test_what_does_not_fit_an_address_is_no_tenant(value: object) -> None:
    with pytest.raises(ValidationError):
        tenant.validate_python(value)


def test_words_for_people_may_have_lines_and_any_script() -> None:
    for value in ("", "two\nlines\tand a tab", "עברית", "a\u200db", "x" * 500):
        assert plain_text.validate_python(value) == value


@pytest.mark.parametrize("value", ["a\0", "\ud800", "a\x1b[31m", "a\x7f", "a\x9b", "x" * 501, 7, None])
def test_words_for_people_can_be_stored_and_printed(value: object) -> None:
    with pytest.raises(ValidationError):
        plain_text.validate_python(value)


def test_times_are_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 21, 9, 15, 30, 123_999, timezone(timedelta(hours=1)))
    assert iso(moment) == "2026-11-21T08:15:30.123Z"
    assert iso(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_written_time_is_the_same_to_the_millisecond(moment: datetime) -> None:
    back = datetime.fromisoformat(iso(moment))
    assert timedelta(0) <= moment - back < timedelta(milliseconds=1)


def test_a_time_without_a_zone_is_no_time() -> None:
    class Answer(BaseModel):
        at: Timestamp

    assert Answer.model_validate_json('{"at": "2026-11-21T09:15:30+01:00"}').model_dump(mode="json") == {
        "at": "2026-11-21T08:15:30.000Z"
    }
    with pytest.raises(ValidationError):
        Answer.model_validate_json('{"at": "2026-11-21T09:15:30"}')
