"""Identifiers that others choose: user ids, transaction ids, references."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

MAX_IDENTIFIER_CHARACTERS = 128


def is_identifier(value: str) -> bool:
    """1 to 128 printable characters without a blank at either end.

    Control characters (NUL cannot be stored by PostgreSQL), lone surrogates (not UTF-8) and invisible
    formatting characters (two ids that look the same) are out.
    """
    return (
        0 < len(value) <= MAX_IDENTIFIER_CHARACTERS
        and ((value.isascii() and value.isprintable()) or not _has_unprintable(value))
        and value == value.strip()
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
