"""Statements on campaigns. Connection first; returns domain types."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.campaigns.domain import Campaign, CampaignPlace, HourCount, Landing, Offer
from token_service.tables import campaign_counts, campaigns, keys


async def read_campaign(connection: AsyncConnection, tenant: str, campaign_id: str) -> Campaign | None:
    row = (await connection.execute(sa.select(campaigns).where(*_is(tenant, campaign_id)))).first()
    return None if row is None else _campaign(row)


async def list_campaigns(
    connection: AsyncConnection, tenant: str, *, after: CampaignPlace | None, limit: int
) -> list[tuple[Campaign, dict[str, int]]]:
    """Campaigns with their counts by event, in the order of their ids."""
    counted = (
        sa.select(campaign_counts.c.event, sa.func.sum(campaign_counts.c.count).label("count"))
        .where(campaign_counts.c.tenant == campaigns.c.tenant, campaign_counts.c.campaign_id == campaigns.c.campaign_id)
        .group_by(campaign_counts.c.event)
        .subquery()
        .lateral()
    )
    page = sa.select(campaigns).where(campaigns.c.tenant == tenant).order_by(campaigns.c.campaign_id).limit(limit)
    if after is not None:
        page = page.where(campaigns.c.campaign_id > after.campaign_id)
    found = {row.campaign_id: (_campaign(row), dict[str, int]()) for row in await connection.execute(page)}
    if found:
        sums = (
            sa.select(campaigns.c.campaign_id, counted.c.event, counted.c.count)
            .select_from(campaigns.join(counted, sa.true()))
            .where(campaigns.c.tenant == tenant, campaigns.c.campaign_id.in_(list(found)))
        )
        for campaign_id, event, count in await connection.execute(sums):
            found[campaign_id][1][event] = int(count)
    return list(found.values())


async def revoke_tokens(connection: AsyncConnection, tenant: str, campaign_id: str) -> datetime | None:
    """Revokes all tokens; returns the time, or None if there is no such campaign."""
    statement = (
        sa.update(campaigns)
        .where(*_is(tenant, campaign_id))
        .values(revoked_at=sa.func.clock_timestamp())
        .returning(campaigns.c.revoked_at)
    )
    revoked_at: datetime | None = await connection.scalar(statement)
    return revoked_at


async def write_landing(connection: AsyncConnection, tenant: str, campaign_id: str, landing: Landing) -> bool:
    """Writes the landing page, and the campaign if it is new; returns whether there was none before."""
    offers = {language: _offer_body(offer) for language, offer in landing.offers.items()}
    values = {"destination_url": landing.destination_url, "offer": offers}
    before = await connection.scalar(
        sa.select(campaigns.c.destination_url).where(*_is(tenant, campaign_id)).with_for_update()
    )
    statement = postgresql.insert(campaigns).values(
        tenant=tenant, campaign_id=campaign_id, created_at=sa.func.now(), **values
    )
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[campaigns.c.tenant, campaigns.c.campaign_id], set_=values)
    )
    return before is None


async def delete_landing(connection: AsyncConnection, tenant: str, campaign_id: str) -> bool:
    statement = (
        sa.update(campaigns)
        .where(*_is(tenant, campaign_id), campaigns.c.destination_url.is_not(None))
        .values(destination_url=None, offer=sa.null())
    )
    return (await connection.execute(statement)).rowcount > 0


async def tenants_with_landing(connection: AsyncConnection) -> list[str]:
    """Tenants with a landing page that have issued tokens; others have no key to try."""
    has_keys = sa.exists().where(keys.c.tenant == campaigns.c.tenant)
    statement = sa.select(campaigns.c.tenant).where(campaigns.c.destination_url.is_not(None), has_keys).distinct()
    return list(await connection.scalars(statement.order_by(campaigns.c.tenant)))


async def read_counts(
    connection: AsyncConnection,
    tenant: str,
    campaign_id: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[HourCount]:
    """The counts by hour, from `since` until before `until`."""
    columns = campaign_counts.c
    statement = sa.select(columns.hour, columns.event, columns.detail, columns.count).where(
        columns.tenant == tenant, columns.campaign_id == campaign_id
    )
    if since is not None:
        statement = statement.where(columns.hour >= since)
    if until is not None:
        statement = statement.where(columns.hour < until)
    return [HourCount(row[0], row[1], row[2], row[3]) for row in await connection.execute(statement)]


def _is(tenant: str, campaign_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return campaigns.c.tenant == tenant, campaigns.c.campaign_id == campaign_id


def _campaign(row: Any) -> Campaign:
    landing = None
    if row.destination_url is not None:
        landing = Landing(row.destination_url, {language: Offer(**offer) for language, offer in row.offer.items()})
    return Campaign(row.tenant, row.campaign_id, row.created_at, row.revoked_at, landing)


def _offer_body(offer: Offer) -> Mapping[str, str]:
    return {"title": offer.title, "text": offer.text, "button": offer.button}
