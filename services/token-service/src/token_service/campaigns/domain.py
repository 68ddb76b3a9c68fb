"""Campaigns and what is counted of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from token_service.tokens.domain import CallerKind


class Bucket(StrEnum):
    """How counts are gathered over time, in UTC."""

    HOUR = "hour"
    DAY = "day"

    def start_of(self, moment: datetime) -> datetime:
        start = moment.replace(minute=0, second=0, microsecond=0)
        return start if self is Bucket.HOUR else start.replace(hour=0)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the hosted landing page says in one language."""

    title: str
    text: str
    button: str


@dataclass(frozen=True, slots=True)
class Landing:
    """The hosted landing page of a campaign: what it says by language, and where it leads."""

    destination_url: str
    offers: Mapping[str, Offer]


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign of a tenant. `revoked_at` revokes all its tokens that were issued until then."""

    tenant: str
    campaign_id: str
    created_at: datetime
    revoked_at: datetime | None = None
    landing: Landing | None = None


@dataclass(frozen=True, slots=True)
class HourCount:
    """A row of what was counted."""

    hour: datetime
    event: str
    detail: str
    count: int


@dataclass(slots=True)
class Counts:
    """What has happened in a time: `distinct` is tokens that a person has verified for the first time."""

    issued: int = 0
    opened: int = 0
    distinct: int = 0
    verified_by: dict[str, int] = field(default_factory=lambda: {kind.value: 0 for kind in CallerKind})
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def verified(self) -> int:
        return sum(self.verified_by.values())

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    def add(self, row: HourCount) -> None:
        if row.event == "issued":
            self.issued += row.count
        elif row.event == "opened":
            self.opened += row.count
        elif row.event == "distinct":
            self.distinct += row.count
        elif row.event == "verified":
            self.verified_by[row.detail] = self.verified_by.get(row.detail, 0) + row.count
        else:
            self.refused[row.detail] = self.refused.get(row.detail, 0) + row.count


@dataclass(frozen=True, slots=True)
class Statistics:
    """A campaign's counts, in all and over time; times in which nothing happened are left out."""

    campaign: Campaign
    total: Counts
    bucket: Bucket
    buckets: Mapping[datetime, Counts]


def statistics_of(campaign: Campaign, rows: Iterable[HourCount], bucket: Bucket) -> Statistics:
    """Gathers hours into buckets, in the order of time."""
    total = Counts()
    buckets: dict[datetime, Counts] = {}
    for row in sorted(rows, key=lambda row: row.hour):
        total.add(row)
        buckets.setdefault(bucket.start_of(row.hour), Counts()).add(row)
    return Statistics(campaign, total, bucket, buckets)
