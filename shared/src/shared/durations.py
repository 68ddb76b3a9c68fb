"""Durations as ISO 8601 writes them. Pure."""

import re
from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

MAX_DURATION: Final = timedelta(days=3650)
NEVER: Final = "never"
#: Ten years of the calendar are two or three days longer.
_MAX_MONTHS: Final = 120
_DAYS_OF_MONTH: Final = Fraction(1461, 48)
_NUMBER: Final = r"\d+(?:[.,]\d+)?"
_DURATION = re.compile(
    rf"P(?:(?P<years>{_NUMBER})Y)?(?:(?P<months>{_NUMBER})M)?(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?(?:(?P<seconds>{_NUMBER})S)?)?"
)
_SECONDS_OF: Final[Mapping[str, int]] = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_MONTHS_OF: Final[Mapping[str, int]] = {"years": 12, "months": 1}


class CalendarDuration(NamedTuple):
    """Months and days of the calendar, and then hours."""

    months: int
    days: int
    rest: timedelta


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> timedelta | CalendarDuration | None:
    """`86400` or ISO 8601 `PT24H`, `P7D`, `P1DT12H`, `P3M`, `P1Y`; `never` is None.

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
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H, P30D or P3M")
    # Only the smallest part may have a fraction (ISO 8601-1, 5.5.2.4), and a calendar has no half months.
    fractional = [name for name, value in parts.items() if not value.isdecimal()]
    if any(name in _MONTHS_OF for name in fractional):
        raise ValueError("must have whole years and months only")
    if any(name != list(parts)[-1] for name in fractional):
        raise ValueError("only the last part of a duration may have a fraction")
    months = sum(int(value) * _MONTHS_OF[name] for name, value in parts.items() if name in _MONTHS_OF)
    seconds = sum(
        (Fraction(value.replace(",", ".")) * _SECONDS_OF[name] for name, value in parts.items() if name in _SECONDS_OF),
        Fraction(0),
    )
    if not months:
        if seconds > MAX_DURATION.total_seconds():
            raise ValueError("must be at most 3650 days")
        return check_duration(timedelta(microseconds=int(seconds * 1_000_000)))
    if months * _DAYS_OF_MONTH + seconds / 86_400 > _MAX_MONTHS * _DAYS_OF_MONTH:
        raise ValueError("must be at most 10 years")
    days = int(seconds // 86_400) if "weeks" in parts or "days" in parts else 0
    rest = seconds - days * 86_400
    return CalendarDuration(months, days, timedelta(microseconds=int(rest * 1_000_000)))


def check_duration(duration: timedelta) -> timedelta:
    """Raises ValueError unless it is between a second and ten years."""
    if not timedelta(seconds=1) <= duration <= MAX_DURATION:
        raise ValueError("must be between 1 second and 3650 days")
    return duration
