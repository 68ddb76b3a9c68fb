"""Counts over time as bars of an SVG that is 100 units high. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from token_service.campaigns.domain import Bucket, Counts

HEIGHT: Final = 100.0
#: The width of a bucket in units, with its gap.
_STEP: Final = 10
_GAP: Final = 2
#: The most buckets shown: a quarter of a year by day, a week by hour.
_MOST: Final[Mapping[Bucket, int]] = {Bucket.DAY: 92, Bucket.HOUR: 168}
_LENGTH: Final[Mapping[Bucket, timedelta]] = {Bucket.DAY: timedelta(days=1), Bucket.HOUR: timedelta(hours=1)}


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `kind` selects its colour."""

    kind: str
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A row of bars, with stacked colours."""

    name: str
    width: int
    total: int
    most: int
    bars: Sequence[Bar]


def latest(buckets: Mapping[datetime, Counts], bucket: Bucket) -> tuple[list[tuple[datetime, Counts]], bool]:
    """The latest buckets without gaps, and whether there are older ones."""
    if not buckets:
        return [], False
    first, last = min(buckets), max(buckets)
    step = _LENGTH[bucket]
    start = max(first, last - (_MOST[bucket] - 1) * step)
    count = (last - start) // step + 1
    times = [start + number * step for number in range(count)]
    return [(time, buckets.get(time) or Counts()) for time in times], start > first


def charts_of(rows: Sequence[tuple[datetime, Counts]]) -> list[Chart]:
    """Charts of issued, reached and verified, each on its own scale: thousands are sent, dozens answer."""
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
    # Keeps a few bars from filling the whole width.
    return Chart(name, max(len(columns), 14) * _STEP, sum(sums), most, bars)
