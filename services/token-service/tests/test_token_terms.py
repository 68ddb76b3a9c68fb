"""The terms of a token: declared once, authenticated as they were for ever."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from token_service.keys.material import TokenKey
from token_service.tokens.content import is_authentic, mac_text, mac_text_after, mac_text_before, versioned
from token_service.tokens.domain import TokenId
from token_service.tokens.schemas import TERMS_SCHEMA, OrderBody
from token_service.tokens.store import TOKEN_COLUMNS
from token_service.tokens.terms import COLUMNS, TERMS, Content, Terms

KEPT = sorted((Path(__file__).parent / "kept_rows").glob("version_*.json"))


class KeptRow:
    """A row as an earlier version wrote it, with the token of its customer."""

    def __init__(self, secret: str, row: dict[str, Any]) -> None:
        self.key = TokenKey(row["key_number"], bytes.fromhex(secret))
        self.id = TokenId(row["tenant"], row["key_number"], row["sequence"])
        self.mac = bytes.fromhex(row["mac"])
        self.token = row["token"]
        moments = {"issued_at", "expires_at", "not_before", "first_expires_at"}
        values = {
            name: datetime.fromisoformat(value) if name in moments and value is not None else value
            for name, value in row.items()
        }
        terms = Terms(**{name: values[name] for name in TERMS if name in values})
        self.content = Content(terms, **{name: values[name] for name in Content._fields if name in values})

    def is_authentic(self, **changed: Any) -> bool:
        terms = {name: changed.pop(name) for name in list(changed) if name in TERMS}
        content = self.content._replace(terms=self.content.terms._replace(**terms), **changed)
        return is_authentic(self.mac, self.id, content, self.key.is_mac)


def _rows() -> list[KeptRow]:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in KEPT]
    return [KeptRow(file["secret"], row) for file in files for row in file["rows"]]


def test_there_are_rows_of_every_version() -> None:
    assert [path.stem for path in KEPT] == ["version_1", "version_2"]


@pytest.mark.parametrize("row", _rows())
def test_rows_of_earlier_versions_are_good_for_ever(row: KeptRow) -> None:
    assert row.is_authentic()
    plain = row.key.read(bytes.fromhex(row.token))
    assert plain is not None
    assert (plain.sequence, plain.expiry_minute) == (row.id.sequence, row.content.expiry_minute)


@pytest.mark.parametrize("row", _rows())
def test_no_value_of_a_row_can_be_edited_unnoticed(row: KeptRow) -> None:
    for name, value in {**row.content.terms._asdict(), **row.content._asdict()}.items():
        if name != "terms":
            assert not row.is_authentic(**{name: _other(value, name)}), name
            if value is not None:
                assert not row.is_authentic(**{name: None}), name


def _other(value: Any, name: str) -> Any:
    if isinstance(value, datetime):
        return value.replace(year=value.year + 1)
    if isinstance(value, int):
        return value + 1
    if value is None:
        times = {"expires_at", "not_before", "first_expires_at"}
        return (
            datetime.fromisoformat("2030-01-01T00:00:00+00:00") if name in times else 1 if name == "max_uses" else "x"
        )
    return f"{value}x"


def test_new_rows_are_written_as_the_newest_version_is_kept() -> None:
    """The import makes the text in three parts; all ways are one text."""
    for row in _rows():
        text = mac_text(row.id, row.content)
        parts = f"{mac_text_before(*row.id[:2])}{row.id.sequence}\n{row.content.terms.customer_id}"
        assert text.decode() == parts + mac_text_after(row.content)
        if len(row.mac) == 17:
            assert versioned(row.key.mac(text)) == row.mac


def test_each_term_is_in_columns_json_and_schema() -> None:
    assert set(TERMS) == set(Terms._fields) == set(TERMS_SCHEMA)
    assert set(OrderBody.model_fields) == {*TERMS, "duration", "expires_at"}
    assert set(COLUMNS) < set(TOKEN_COLUMNS)
    assert set(TERMS) - set(COLUMNS) == {"campaign_id", "base_url"}
