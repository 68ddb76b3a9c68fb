"""Periods and months: when an activated person gets the next month, and which bill it belongs to."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from shared.errors import Malformed

_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


class MalformedMonth(Malformed):
    code = "malformed_month"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One month of write access for one person, on one partner's bill."""

    user_id: str
    months: int
    assigned_at: datetime


@dataclass(frozen=True, slots=True)
class Bill:
    """All assignments of a partner in one month, oldest first."""

    month: date
    assignments: tuple[Assignment, ...]

    @property
    def month_written(self) -> str:
        """`0987-06`: `strftime` leaves the zeros before a year out on Linux."""
        return self.month.isoformat()[:7]

    @property
    def sum(self) -> int:
        return sum(assignment.months for assignment in self.assignments)


def period_start(activated_at: datetime, n: int) -> datetime:
    """The beginning of the `n`-th period (0 begins with the activation): the same day of a later month, in UTC.

    In a month without that day it is the last day, and later the day returns: 31 January, 28 February, 31 March. It is
    counted from the activation, since from the previous period the day would be lost.
    """
    start = activated_at.astimezone(UTC)
    months = start.year * 12 + start.month - 1 + n
    year, month = divmod(months, 12)
    return start.replace(year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1]))


def periods_due(activated_at: datetime, assigned: int, until: datetime) -> list[datetime]:
    """The beginnings of all periods after the first `assigned` ones that have begun by `until`."""
    due: list[datetime] = []
    while (start := period_start(activated_at, assigned + len(due))) <= until:
        due.append(start)
    return due


def month_of(moment: datetime) -> date:
    """The month (UTC) whose bill contains a moment, as its first day."""
    return moment.astimezone(UTC).date().replace(day=1)


def parse_month(text: str) -> date:
    """Reads `2026-11`.

    Raises:
        MalformedMonth
    """
    parts = _MONTH.fullmatch(text)
    if parts is None or int(parts[1]) == 0:
        raise MalformedMonth("A month is written as 2026-11.")
    return date(int(parts[1]), int(parts[2]), 1)
