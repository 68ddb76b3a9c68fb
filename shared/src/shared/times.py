"""Times on the wire: ISO 8601, UTC, milliseconds and `Z`."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer


def iso(moment: datetime) -> str:
    """`2026-11-21T08:15:30.123Z`."""
    # Not strftime: its %Y writes the year 1 with one digit.
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


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


#: An instant that a caller names, with an offset from UTC and within the range of the database.
Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
