"""How long a token is good: durations, calendar durations, moments, and for ever. Pure.

Seconds, hours, days and weeks are counted from issuing; a day has 24 hours. Months and years are the calendar's: they
are counted in the tenant's time zone, from `not_before` where the order has it, else from issuing.
"""

import calendar
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from shared.durations import NEVER, CalendarDuration, parse_duration

_LATEST: Final = timedelta(days=3653)

SCHEMA: Final[Mapping[str, Any]] = {
    "description": "Seconds, an ISO 8601 duration, or `never`. Months and years are counted in the tenant's time zone.",
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 315_360_000},
        {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["PT24H", "P3M", "86400", NEVER]},
    ],
}


#: A duration, the moment of its end, or None: for ever.
Lifetime: TypeAlias = timedelta | CalendarDuration | datetime | None


def read_duration(value: Any) -> timedelta | CalendarDuration | None:
    """A duration as JSON or a column of CSV says it.

    Raises:
        ValueError: as `parse_duration`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H")
    return parse_duration(str(value))


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
