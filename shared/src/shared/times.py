"""Times on the wire: ISO 8601, UTC, milliseconds and `Z`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import orjson
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?([Zz]|[+-]\d{2}(:?\d{2})?)?", re.ASCII)

#: Where calendars, and so the instants that callers may name, begin.
_FIRST: Final = datetime.min.replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    """`2026-11-21T08:15:30.123Z`."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    # "2026-11-21T08:15:30.123456+00:00" in quotes, in a third of the time that isoformat takes. Without microseconds
    # it leaves out the fraction.
    text = orjson.dumps(utc).decode()
    return f"{text[1:24]}Z" if utc.microsecond else f"{text[1:20]}.000Z"


Timestamp = Annotated[AwareDatetime, PlainSerializer(iso, return_type=str, when_used="json")]


def in_utc(moment: datetime) -> datetime:
    """The instant in UTC.

    Raises:
        ValueError: UTC has no such date (the year 1 begins earlier in the east).
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from None


def earlier(instant: datetime, span: timedelta) -> datetime:
    """So much before an instant that a caller named; at the earliest the first that calendars have."""
    return instant - min(span, instant - _FIRST)


def _read_iso(value: object) -> object:
    """pydantic takes numbers for seconds since 1970, and texts of digits as well: `2026` would be half an hour."""
    if isinstance(value, str) and _ISO.fullmatch(value):
        return datetime.fromisoformat(value.upper())
    if isinstance(value, datetime):
        return value
    raise ValueError("must be an ISO 8601 time with a zone, such as 2026-12-01T08:00:00Z; in a query, + is %2B")


#: An instant that a caller names, with an offset from UTC and within the range of the database.
Instant = Annotated[AwareDatetime, BeforeValidator(_read_iso), AfterValidator(in_utc)]
