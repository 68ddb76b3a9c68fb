"""What a customer may order: the rules for base URLs, attributes and times, for every way in.

Pure. `tokens.terms` says which rule is for which term. Each raises ValueError with a sentence for the sender.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson
from shared.identifiers import is_identifier
from shared.web.addresses import check_address

MAX_BASE_URL_CHARACTERS: Final = 1024
MAX_USES: Final = 2**31 - 1
MAX_ATTRIBUTES: Final = 50
MAX_ATTRIBUTE_CHARACTERS: Final = 500
MAX_ATTRIBUTES_BYTES: Final = 4096
_MAX_INTEGER: Final = 2**53 - 1


@lru_cache(maxsize=4096)
def check_base_url(url: str, *, plain_http: bool) -> str:
    """`url` without a slash at its end, checked as the beginning of links. It has no query, since the token follows.

    Args:
        plain_http: whether http is allowed, as in development.

    Raises:
        ValueError: says what is wrong.
    """
    check_address(url, plain_http=plain_http, query=False, max_characters=MAX_BASE_URL_CHARACTERS)
    return url.rstrip("/")


def url_link(base_url: str, token: str) -> str:
    return f"{base_url}/{token}"


def check_max_uses(max_uses: int) -> int:
    """Raises ValueError unless it is a number within the range of the counter."""
    if not 1 <= max_uses <= MAX_USES:
        raise ValueError(f"must be between 1 and {MAX_USES}")
    return max_uses


def check_moment(moment: datetime) -> datetime:
    """Raises ValueError unless it is a moment with a time zone, within the calendar."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError("must name its time zone, such as Z")
    if not 2000 <= moment.year <= 2100:
        raise ValueError("must lie between 2000 and 2100")
    return moment.astimezone(UTC)


def check_text(value: str, characters: int = MAX_ATTRIBUTE_CHARACTERS) -> str:
    """Raises ValueError for text that cannot be stored or shown."""
    if len(value) > characters:
        raise ValueError(f"must have at most {characters} characters")
    if not value.isprintable() and any(
        (ord(character) < 32 and character not in "\t\n") or 0x7F <= ord(character) < 0xA0 or _is_surrogate(character)
        for character in value
    ):
        raise ValueError("must not contain control characters")
    return value


def _is_surrogate(character: str) -> bool:
    return 0xD800 <= ord(character) <= 0xDFFF


def pack_attributes(attributes: Mapping[str, Any]) -> str | None:
    """The attributes as stored and authenticated: JSON with sorted names; None if there are none.

    Raises:
        ValueError: too many, too long, or values that are not text, number, true, false or null.
    """
    if not attributes:
        return None
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"must have at most {MAX_ATTRIBUTES} names")
    for name, value in attributes.items():
        if not is_identifier(name):
            raise ValueError("must have names of 1 to 128 printable characters")
        _check_attribute(value)
    packed = orjson.dumps(dict(attributes), option=orjson.OPT_SORT_KEYS)
    if len(packed) > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"must have at most {MAX_ATTRIBUTES_BYTES} bytes as JSON")
    return packed.decode()


def _check_attribute(value: Any) -> None:
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise ValueError("must not have whole numbers beyond 2^53, which JSON readers would round")
    elif not isinstance(value, float) or value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124
        raise ValueError("must have values that are text, numbers, true, false or null")
