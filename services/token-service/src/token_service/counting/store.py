"""Statements on counts. Connection first; asyncpg's own."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import asyncpg

#: Refusals of what is no token of anybody's are kept under this campaign.
NO_CAMPAIGN = ""


class CampaignCount(NamedTuple):
    """What is counted: an event of a campaign in an hour, by kind of caller or reason."""

    tenant: str
    campaign_id: str
    hour: datetime
    event: str
    detail: str


# Sorted, so that two processes cannot deadlock.
_ADD = """
INSERT INTO token_service.campaign_counts AS kept (tenant, campaign_id, hour, event, detail, count)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::bigint[])
 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (tenant, campaign_id, hour, event, detail) DO UPDATE SET count = kept.count + excluded.count
"""


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


async def add_campaign_counts(connection: asyncpg.Connection, counts: Mapping[CampaignCount, int]) -> None:
    """Adds to what is there."""
    if counts:
        rows = [(*key, count) for key, count in counts.items()]
        await connection.execute(_ADD, *(list(column) for column in zip(*rows, strict=True)))
