"""Identifiers that callers choose: user ids, transaction ids, references."""

import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from shared.texts import normal_form

MAX_IDENTIFIER_CHARACTERS = 128
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Marks and letters that take no place and leave no trace: what Unicode calls default ignorable, beside `_HIDDEN`.
#: They are the grapheme joiner, the fillers of Hangul, two vowels of Khmer and all variation selectors.
_WITHOUT_WIDTH: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_DOTS: Final = frozenset({".", ".."})


def read_identifier(value: str) -> str:
    """The id in the form in which it is compared and stored: NFC.

    An id has 1 to 128 printable characters and no blank at either end. Control characters (PostgreSQL cannot store
    NUL), lone surrogates (not UTF-8) and characters that nobody sees (two ids that look the same) are refused. So
    is U+FFFD: servers put it for bytes of a path that are not UTF-8, which would make one id of many. So are the path
    segments `.` and `..`, which clients and proxies resolve.

    Raises:
        ValueError: it is not an id.
    """
    if value.isascii():
        is_good = 0 < len(value) <= MAX_IDENTIFIER_CHARACTERS and value.isprintable()
    else:
        value = normal_form(value, at_most=MAX_IDENTIFIER_CHARACTERS)
        is_hidden = any(unicodedata.category(character) in _HIDDEN for character in value)
        is_good = not is_hidden and "\ufffd" not in value and _WITHOUT_WIDTH.search(value) is None
    if not is_good or value != value.strip():
        raise ValueError("must be 1 to 128 printable characters without a blank at either end")
    if "." in value and not _DOTS.isdisjoint(value.split("/")):
        raise ValueError("must not have the path segments . and ..")
    return value


def is_identifier(value: str) -> bool:
    """Whether it is an id, in the form in which it is compared (see `read_identifier`)."""
    try:
        return read_identifier(value) == value
    except ValueError:
        return False


Identifier = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=MAX_IDENTIFIER_CHARACTERS),
    AfterValidator(read_identifier),
]

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
Tenant = Annotated[str, StringConstraints(strict=True, pattern=f"^{_TENANT.pattern}$")]


def is_tenant(value: str) -> bool:
    """Whether it has the form of a tenant's name."""
    return _TENANT.fullmatch(value) is not None


def _check_text(value: str) -> str:
    if not value.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs"} and character not in "\t\n" for character in value
    ):
        raise ValueError("must not contain control characters")
    return value


#: Words for people: up to 500 characters, storable and printable.
PlainText = Annotated[str, StringConstraints(strict=True, max_length=500), AfterValidator(_check_text)]
