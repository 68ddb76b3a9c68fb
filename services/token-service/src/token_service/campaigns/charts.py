"""Counts over time as bars, ready to be drawn. Pure: numbers for an SVG of 100 units in height."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from token_service.campaigns.domain import Bucket, Counts

HEIGHT: Final = 100.0
#: Units a bucket is wide, gap included.
_STEP: Final = 10
_GAP: Final = 2
#: What is shown at most: a quarter of a year by day, a week by hour.
_MOST: Final[Mapping[Bucket, int]] = {Bucket.DAY: 92, Bucket.HOUR: 168}
_LENGTH: Final[Mapping[Bucket, timedelta]] = {Bucket.DAY: timedelta(days=1), Bucket.HOUR: timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `kind` says its colour."""

    kind: str
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A row of bars, of one or several colours on top of each other."""

    name: str
    width: int
    total: int
    most: int
    bars: Sequence[Bar]


def latest(buckets: Mapping[datetime, Counts], bucket: Bucket) -> tuple[list[tuple[datetime, Counts]], bool]:
    """The latest buckets without gaps between them, and whether there are older ones."""
    if not buckets:
        return [], False
    first, last = min(buckets), max(buckets)
    step = _LENGTH[bucket]
    start = max(first, last - (_MOST[bucket] - 1) * step)
    count = (last - start) // step + 1
    times = [start + number * step for number in range(count)]
    return [(time, buckets.get(time) or Counts()) for time in times], start > first


def charts_of(rows: Sequence[tuple[datetime, Counts]]) -> list[Chart]:
    """Issued, reached and verified, each to its own scale: a campaign sends thousands and is answered by dozens."""
    return [
        _chart("issued", [{"issued": counts.issued} for _, counts in rows]),
        _chart("reached", [{"reached": counts.distinct} for _, counts in rows]),
        _chart("verified", [counts.verified_by for _, counts in rows]),
    ]


def _chart(name: str, columns: Sequence[Mapping[str, int]]) -> Chart:
    sums = [sum(column.values()) for column in columns]
    most = max(sums, default=0)
    bars = []
    for place, column in enumerate(columns):
        top = HEIGHT
        for kind, count in column.items():
            if count:
                height = round(HEIGHT * count / most, 2)
                top -= height
                bars.append(Bar(kind, place * _STEP + _GAP // 2, round(max(top, 0.0), 2), _STEP - _GAP, height))
    # A few bars stay bars instead of filling the whole width.
    return Chart(name, max(len(columns), 14) * _STEP, sum(sums), most, bars)
