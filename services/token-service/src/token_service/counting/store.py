"""Statements on counts, on a plain asyncpg connection, which comes first."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import asyncpg
from shared.tenant_statements import execute, only_tenant, statement

from token_service.tokens.domain import TokenId

#: The campaign of refusals that belong to no token.
NO_CAMPAIGN = ""


class CampaignCount(NamedTuple):
    """A counter: an event of a campaign in an hour, by kind of caller or reason."""

    tenant: str
    campaign_id: str
    hour: datetime
    event: str
    detail: str


class TokenRefusal(NamedTuple):
    """A counter of one token: refusals by reason."""

    tenant: str
    key_number: int
    sequence: int
    reason: str

    @property
    def token_id(self) -> TokenId:
        return TokenId(self.tenant, self.key_number, self.sequence)


# Sorted, so that two processes cannot deadlock.
_ADD_REFUSALS = statement(
    """
INSERT INTO token_service.token_refusals AS kept (tenant, key_number, sequence, reason, count)
SELECT «added», key_number, sequence, reason, count
  FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::text[], $5::bigint[])
       AS added (tenant, key_number, sequence, reason, count)
 ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant, key_number, sequence, reason) DO UPDATE SET count = kept.count + excluded.count
""",
    5,
)
_ADD_CAMPAIGNS = statement(
    """
INSERT INTO token_service.campaign_counts AS kept (tenant, campaign_id, hour, event, detail, count)
SELECT «added», campaign_id, hour, event, detail, count
  FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::bigint[])
       AS added (tenant, campaign_id, hour, event, detail, count)
 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (tenant, campaign_id, hour, event, detail) DO UPDATE SET count = kept.count + excluded.count
""",
    6,
)


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


async def add_campaign_counts(connection: asyncpg.Connection, counts: Mapping[CampaignCount, int]) -> None:
    """Adds to what is there."""
    if counts:
        columns = [list(column) for column in zip(*((*key, count) for key, count in counts.items()), strict=True)]
        await execute(connection, _ADD_CAMPAIGNS, only_tenant(connection, columns[0]), *columns)


async def add_token_refusals(connection: asyncpg.Connection, counts: Mapping[TokenRefusal, int]) -> None:
    """Adds to what is there."""
    if counts:
        columns = [list(column) for column in zip(*((*key, count) for key, count in counts.items()), strict=True)]
        await execute(connection, _ADD_REFUSALS, only_tenant(connection, columns[0]), *columns)
