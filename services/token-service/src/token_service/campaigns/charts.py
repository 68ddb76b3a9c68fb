"""Counts over time as bars of an SVG that is 100 units high. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from token_service.campaigns.domain import Bucket, Counts

HEIGHT: Final = 100.0
#: The width of a bucket in units, with its gap.
_STEP: Final = 10
_GAP: Final = 2
#: The most buckets shown: a quarter of a year by day, a week by hour.
MOST: Final[Mapping[Bucket, int]] = {Bucket.DAY: 92, Bucket.HOUR: 168}
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
    #: Numbers of the axis, from the top down.
    ticks: Sequence[int]


def latest(buckets: Mapping[datetime, Counts], bucket: Bucket, zone: tzinfo) -> list[tuple[datetime, Counts]]:
    """The latest buckets without gaps; days by the calendar of the zone, hours by UTC."""
    if not buckets:
        return []
    step = _LENGTH[bucket]
    clock = zone if bucket is Bucket.DAY else UTC
    local = {start.astimezone(clock).replace(tzinfo=None): counts for start, counts in buckets.items()}
    last = max(local)
    start = max(min(local), last - (MOST[bucket] - 1) * step)
    times = [start + number * step for number in range((last - start) // step + 1)]
    return [(time.replace(tzinfo=clock), local.get(time) or Counts()) for time in times]


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
    top_tick = _round_up(most)
    bars = []
    for place, column in enumerate(columns):
        top = HEIGHT
        for kind, count in column.items():
            if count:
                height = round(HEIGHT * count / top_tick, 2)
                top -= height
                bars.append(Bar(kind, place * _STEP + _GAP // 2, round(max(top, 0.0), 2), _STEP - _GAP, height))
    # Keeps a few bars from filling the whole width.
    return Chart(name, max(len(columns), 14) * _STEP, sum(sums), most, bars, [top_tick, top_tick // 2, 0])


def _round_up(number: int) -> int:
    """The next number that an axis may end with and be halved: 2, 4, 6 or 10, and zeros."""
    power: int = 10 ** max(len(str(number)) - 1, 0)
    return min(step * power for step in (2, 4, 6, 10) if step * power >= number)
