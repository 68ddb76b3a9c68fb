"""What a customer may order: the rules for base URLs, durations, attributes and times, for every way in.

Pure. The wire's pydantic models and the streamed import call the same functions, which raise ValueError with a
sentence for whoever sent it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from shared.identifiers import is_identifier
from shared.web.addresses import check_address

from token_service.tokens.domain import Content
from token_service.tokens.format import expiry_minute_of

MAX_BASE_URL_CHARACTERS: Final = 1024
MAX_DURATION: Final = timedelta(days=3650)
MAX_USES: Final = 2**31 - 1
MAX_ATTRIBUTES: Final = 50
MAX_ATTRIBUTE_CHARACTERS: Final = 500
MAX_ATTRIBUTES_BYTES: Final = 4096
_MAX_INTEGER: Final = 2**53 - 1
NEVER: Final = "never"

_DURATION = re.compile(
    r"P(?:(?P<weeks>\d+(?:[.,]\d+)?)W)?(?:(?P<days>\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:[.,]\d+)?)H)?(?:(?P<minutes>\d+(?:[.,]\d+)?)M)?(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?)?"
)
_SECONDS_OF: Final[Mapping[str, int]] = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}


class Order(NamedTuple):
    """A token to issue. `duration` None is for ever; `reference` makes a row of an import unrepeatable."""

    base_url: str
    customer_id: str
    campaign_id: str
    duration: timedelta | None
    product_id: str | None = None
    attributes: str | None = None
    max_uses: int | None = None
    not_before: datetime | None = None
    reference: str | None = None

    def content(self, issued_at: datetime) -> Content:
        """What the token encodes when it is issued at this moment.

        Raises:
            ValueError: it would never be good, or lives longer than tokens can say.
        """
        expires_at = None if self.duration is None else issued_at + self.duration
        expiry_minute_of(expires_at)
        if self.not_before is not None and expires_at is not None and self.not_before >= expires_at:
            raise ValueError("not_before must lie before the token expires")
        return Content(
            self.customer_id,
            self.campaign_id,
            self.base_url,
            issued_at,
            expires_at,
            self.product_id,
            self.attributes,
            self.not_before,
            self.max_uses,
        )


@lru_cache(maxsize=4096)
def check_base_url(url: str, *, plain_http: bool) -> str:
    """`url` without a slash at its end, if links may begin with it: the token is put at its end, so it has no query.

    Args:
        plain_http: whether http is allowed too, as in development.

    Raises:
        ValueError: says what is wrong.
    """
    check_address(url, plain_http=plain_http, query=False, max_characters=MAX_BASE_URL_CHARACTERS)
    return url.rstrip("/")


def url_link(base_url: str, token: str) -> str:
    return f"{base_url}/{token}"


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> timedelta | None:
    """`86400` or ISO 8601 `PT24H`, `P7D`, `P1DT12H`; `never` is None.

    Raises:
        ValueError: not of that form, or not between a second and ten years.
    """
    if text == NEVER:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 12:
        return check_duration(timedelta(seconds=int(text)))
    if len(text) > 64 or not text.isascii():
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H")
    match = _DURATION.fullmatch(text)
    parts = {} if match is None else {name: value for name, value in match.groupdict().items() if value is not None}
    if not parts or text.endswith("T"):
        raise ValueError(
            "must be seconds or an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as PT24H"
        )
    # Only the smallest part may have a fraction (ISO 8601-1, 5.5.2.4).
    if any(not value.isdecimal() for value in list(parts.values())[:-1]):
        raise ValueError("only the last part of a duration may have a fraction")
    seconds = sum(Fraction(value.replace(",", ".")) * _SECONDS_OF[name] for name, value in parts.items())
    if seconds > MAX_DURATION.total_seconds():
        raise ValueError("must be at most 3650 days")
    return check_duration(timedelta(microseconds=int(seconds * 1_000_000)))


def check_duration(duration: timedelta) -> timedelta:
    """Raises ValueError unless it is between a second and ten years."""
    if not timedelta(seconds=1) <= duration <= MAX_DURATION:
        raise ValueError("must be between 1 second and 3650 days")
    return duration


def check_max_uses(max_uses: int) -> int:
    """Raises ValueError unless it is a number that can be counted to."""
    if not 1 <= max_uses <= MAX_USES:
        raise ValueError(f"must be between 1 and {MAX_USES}")
    return max_uses


def check_moment(moment: datetime) -> datetime:
    """Raises ValueError unless it is a moment with a time zone that a calendar of ours has."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError("must name its time zone, such as Z")
    if not 2000 <= moment.year <= 2100:
        raise ValueError("must lie between 2000 and 2100")
    return moment.astimezone(UTC)


def check_text(value: str, characters: int = MAX_ATTRIBUTE_CHARACTERS) -> str:
    """Raises ValueError for text that cannot be kept or shown."""
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
    """The attributes as they are kept and authenticated: JSON with sorted names; None for none.

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
