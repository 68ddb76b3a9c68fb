"""A text costs no more than its length, whatever it is made of."""

import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from shared.identifiers import Identifier, read_identifier
from shared.texts import MAX_MARKS, UnfitText, normal_form

from shared import texts

REPOSITORY = Path(__file__).parents[2]


@given(st.text(max_size=300))
def test_a_normal_form_is_the_normal_form_of_the_standard_or_refused(text: str) -> None:
    for form in ("NFC", "NFKC"):
        try:
            normal = normal_form(text, at_most=300, form=form)
        except UnfitText:
            continue
        assert normal == unicodedata.normalize(form, text)
        assert len(normal) <= 300


@given(st.text(st.characters(categories=["Mn", "Mc", "Me"]), max_size=2 * MAX_MARKS))
def test_marks_pile_up_no_higher_than_agreed(marks: str) -> None:
    if len(marks) <= MAX_MARKS:
        assert normal_form("a" + marks, at_most=1000) == unicodedata.normalize("NFC", "a" + marks)
    else:
        with pytest.raises(UnfitText):
            normal_form("a" + marks, at_most=1000)


def test_every_character_that_is_sorted_counts_as_a_mark() -> None:
    """Else a pile of it would be sorted at full length."""
    for number in range(0x110000):
        character = chr(number)
        if 0xD800 <= number <= 0xDFFF or number < 0x300:
            continue
        for form in ("NFD", "NFKD"):
            parts = unicodedata.normalize(form, character)
            if all(unicodedata.combining(part) for part in parts):
                assert texts._piles_up_marks(character * (MAX_MARKS + 1)), f"U+{number:04X}"
            # And none comes apart into a pile itself.
            assert sum(bool(unicodedata.combining(part)) for part in parts) <= 3, f"U+{number:04X}"


def test_it_is_bounded_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    # One character that becomes eighteen.
    with pytest.raises(UnfitText):
        normal_form("\ufdfa" * 100, at_most=1000, form="NFKC")

    def must_not_be_called(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(
        texts, "unicodedata", SimpleNamespace(category=unicodedata.category, normalize=must_not_be_called)
    )
    for text in ("a" + "\u0301" * 200_000, "ä" * 1001, "a" + "\u0f73" * 900):
        with pytest.raises(UnfitText):
            normal_form(text, at_most=1000)


def test_nothing_else_normalises_text() -> None:
    """`normalize` before a bound is how one request stopped a service for eleven seconds."""
    places = [
        str(file.relative_to(REPOSITORY))
        for folder in ("shared/src", "services", "deploy")
        for file in (REPOSITORY / folder).rglob("*.py")
        # Environments of programs lie here too, once they are made.
        if not {"tests", ".venv"} & set(file.parts) and re.search(r"normalize\(|is_normalized\(", file.read_text())
    ]
    assert places == ["shared/src/shared/texts.py"]


def test_two_spellings_of_an_id_are_one_id() -> None:
    adapter: TypeAdapter[str] = TypeAdapter(Identifier)
    assert adapter.validate_python("Ju\u0308rgen") == adapter.validate_python("J\u00fcrgen") == "J\u00fcrgen"


@pytest.mark.parametrize(
    "value", [".", "..", "../a", "a/..", "a/./b", "a/../b", "\u0627" + "\u064b" * 31, "\u0958" * 65]
)
def test_what_is_no_id(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Identifier).validate_python(value)


@pytest.mark.parametrize("value", ["...", "a.b", ".a", "a..b", "a/b", "/", "..a/b.."])
def test_dots_within_a_segment_are_ordinary(value: str) -> None:
    assert read_identifier(value) == value
