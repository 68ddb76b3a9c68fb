"""Campaigns and their counts. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from shared.identifiers import Identifier
from shared.paging import Listing

from token_service.tokens.domain import CallerKind


class Bucket(StrEnum):
    """The period over which counts are added up, in UTC."""

    HOUR = "hour"
    DAY = "day"

    def start_of(self, moment: datetime) -> datetime:
        start = moment.replace(minute=0, second=0, microsecond=0)
        return start if self is Bucket.HOUR else start.replace(hour=0)


class CampaignPlace(NamedTuple):
    """The place of a campaign among its tenant's, by its id."""

    campaign_id: Identifier


CAMPAIGNS: Final = Listing("campaigns", CampaignPlace)


@dataclass(frozen=True, slots=True)
class Offer:
    """The texts of a hosted landing page in one language."""

    title: str
    text: str
    button: str


@dataclass(frozen=True, slots=True)
class Landing:
    """The hosted landing page of a campaign: texts by language, and destination."""

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
    """One stored count."""

    hour: datetime
    event: str
    detail: str
    count: int


@dataclass(slots=True)
class Counts:
    """The counts of a period; `distinct` counts tokens that a person verified for the first time."""

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
    """A campaign's counts, in total and over time; empty periods are left out."""

    campaign: Campaign
    total: Counts
    bucket: Bucket
    buckets: Mapping[datetime, Counts]


def statistics_of(campaign: Campaign, rows: Iterable[HourCount], bucket: Bucket) -> Statistics:
    """Adds hours up to buckets, oldest first."""
    total = Counts()
    buckets: dict[datetime, Counts] = {}
    for row in sorted(rows, key=lambda row: row.hour):
        total.add(row)
        buckets.setdefault(bucket.start_of(row.hour), Counts()).add(row)
    return Statistics(campaign, total, bucket, buckets)
