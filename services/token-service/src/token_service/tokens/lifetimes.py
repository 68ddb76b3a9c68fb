"""How long a token is good: durations, calendar durations, moments, and for ever. Pure.

Seconds, hours, days and weeks are counted from issuing; a day has 24 hours. Months and years are the calendar's: they
are counted in the tenant's time zone, from `not_before` where the order has it, else from issuing.
"""

import calendar
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

MAX_DURATION: Final = timedelta(days=3650)
#: Ten years of the calendar are two or three days longer.
_MAX_MONTHS: Final = 120
_LATEST: Final = timedelta(days=3653)
_DAYS_OF_MONTH: Final = Fraction(1461, 48)
NEVER: Final = "never"

_NUMBER: Final = r"\d+(?:[.,]\d+)?"
_DURATION = re.compile(
    rf"P(?:(?P<years>{_NUMBER})Y)?(?:(?P<months>{_NUMBER})M)?(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?(?:(?P<seconds>{_NUMBER})S)?)?"
)
_SECONDS_OF: Final[Mapping[str, int]] = {"weeks": 604_800, "days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_MONTHS_OF: Final[Mapping[str, int]] = {"years": 12, "months": 1}
SCHEMA: Final[Mapping[str, Any]] = {
    "description": "Seconds, an ISO 8601 duration, or `never`. Months and years are counted in the tenant's time zone.",
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 315_360_000},
        {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["PT24H", "P3M", "86400", NEVER]},
    ],
}


class CalendarDuration(NamedTuple):
    """Months and days of the calendar, and then hours."""

    months: int
    days: int
    rest: timedelta


#: A duration, the moment of its end, or None: for ever.
Lifetime: TypeAlias = timedelta | CalendarDuration | datetime | None


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


def read_duration(value: Any) -> timedelta | CalendarDuration | None:
    """A duration as JSON or a column of CSV says it.

    Raises:
        ValueError: as `parse_duration`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H")
    return parse_duration(str(value))


def check_duration(duration: timedelta) -> timedelta:
    """Raises ValueError unless it is between a second and ten years."""
    if not timedelta(seconds=1) <= duration <= MAX_DURATION:
        raise ValueError("must be between 1 second and 3650 days")
    return duration


def end_of(lifetime: Lifetime, issued_at: datetime, not_before: datetime | None, zone: ZoneInfo) -> datetime | None:
    """When a token that is issued at this moment expires; None is never.

    Raises:
        ValueError: the end lies before the beginning, or later than ten years from it.
    """
    if lifetime is None:
        return None
    if isinstance(lifetime, timedelta):
        return issued_at + lifetime
    begin = issued_at if not_before is None else not_before
    if isinstance(lifetime, datetime):
        end = lifetime
        if end <= issued_at:
            raise ValueError("expires_at must lie in the future")
    else:
        end = _after(begin.astimezone(zone), lifetime)
    if end - max(begin, issued_at) > _LATEST:
        raise ValueError("the token must expire within 10 years")
    return end


def _after(begin: datetime, duration: CalendarDuration) -> datetime:
    """The same time of day some months later; the 31st is the last day of a shorter month."""
    years, month = divmod(begin.year * 12 + begin.month - 1 + duration.months, 12)
    day = min(begin.day, calendar.monthrange(years, month + 1)[1])
    local = begin.replace(year=years, month=month + 1, day=day) + timedelta(days=duration.days)
    return local.astimezone(UTC) + duration.rest
