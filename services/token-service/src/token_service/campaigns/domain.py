"""Campaigns and their counts. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from shared.identifiers import Identifier
from shared.paging import Listing
from shared.times import Instant

from token_service.tokens.domain import CallerKind


class Bucket(StrEnum):
    """The period over which counts are added up. Hours are those of UTC; days begin in a time zone."""

    HOUR = "hour"
    DAY = "day"


class CampaignPlace(NamedTuple):
    """Where a campaign stands among those of its tenant."""

    campaign_id: Identifier


class NewestPlace(NamedTuple):
    """Where a campaign stands among the newest."""

    created_at: Instant
    campaign_id: Identifier


#: In the order of their ids, and the newest first. The names are part of every cursor, so they never change.
CAMPAIGNS: Final = Listing("campaigns", CampaignPlace)
NEWEST_CAMPAIGNS: Final = Listing("newest_campaigns", NewestPlace)


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
class Count:
    """The sum of a bucket; without a start, of all time."""

    start: datetime | None
    event: str
    detail: str
    count: int


@dataclass(slots=True)
class Counts:
    """The counts of a period; `distinct` counts tokens that a person verified for the first time."""

    issued: int = 0
    opened_by: dict[str, int] = field(default_factory=lambda: {kind.value: 0 for kind in CallerKind})
    distinct: int = 0
    verified_by: dict[str, int] = field(default_factory=lambda: {kind.value: 0 for kind in CallerKind})
    refused: dict[str, int] = field(default_factory=dict)

    @property
    def opened(self) -> int:
        """Views by people: bots and scanners open pages, too, and look at nothing."""
        return self.opened_by[CallerKind.PERSON]

    @property
    def verified(self) -> int:
        return sum(self.verified_by.values())

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    def add(self, row: Count) -> None:
        if row.event == "issued":
            self.issued += row.count
        elif row.event == "opened":
            self.opened_by[row.detail] = self.opened_by.get(row.detail, 0) + row.count
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


def statistics_of(campaign: Campaign, sums: Iterable[Count], bucket: Bucket) -> Statistics:
    """The buckets, oldest first, beside the sums of all time."""
    total = Counts()
    buckets: dict[datetime, Counts] = {}
    for row in sums:
        (total if row.start is None else buckets.setdefault(row.start, Counts())).add(row)
    return Statistics(campaign, total, bucket, dict(sorted(buckets.items())))
