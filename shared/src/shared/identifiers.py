"""Identifiers that callers choose: user ids, transaction ids, references."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

MAX_IDENTIFIER_CHARACTERS = 128


def is_identifier(value: str) -> bool:
    """1 to 128 printable characters without a blank at either end.

    Control characters (NUL cannot be stored by PostgreSQL), lone surrogates (not UTF-8) and invisible
    formatting characters (two ids that look the same) are out, and so is U+FFFD: servers put it for bytes of a
    path that are not UTF-8, which would make one id of many.
    """
    return (
        0 < len(value) <= MAX_IDENTIFIER_CHARACTERS
        and ((value.isascii() and value.isprintable()) or not _has_unprintable(value))
        and value == value.strip()
        and "\ufffd" not in value
    )


def _has_unprintable(value: str) -> bool:
    return any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in value)


def _check(value: str) -> str:
    if not is_identifier(value):
        raise ValueError("must be 1 to 128 printable characters without a blank at either end")
    return value


Identifier = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_IDENTIFIER_CHARACTERS),
    AfterValidator(_check),
]

Tenant = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


def _check_text(value: str) -> str:
    if not value.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs"} and character not in "\t\n" for character in value
    ):
        raise ValueError("must not contain control characters")
    return value


#: Words for people: up to 500 characters, storable and printable.
PlainText = Annotated[str, StringConstraints(strict=True, max_length=500), AfterValidator(_check_text)]
