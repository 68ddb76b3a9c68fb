"""Statements on campaigns. Connection first; returns domain types."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.campaigns.domain import Bucket, Campaign, CampaignPlace, Count, Landing, NewestPlace, Offer
from token_service.tables import campaign_counts, campaigns, keys

_LENGTH: Final = {Bucket.HOUR: timedelta(hours=1), Bucket.DAY: timedelta(days=1)}


async def read_campaign(connection: AsyncConnection, tenant: str, campaign_id: str) -> Campaign | None:
    row = (await connection.execute(sa.select(campaigns).where(*_is(tenant, campaign_id)))).first()
    return None if row is None else _campaign(row)


async def list_campaigns(
    connection: AsyncConnection,
    tenant: str,
    *,
    after: CampaignPlace | NewestPlace | None,
    limit: int,
    containing: str | None = None,
    newest_first: bool = False,
) -> list[tuple[Campaign, dict[str, int]]]:
    """Campaigns with their counts by event, in the order of their ids, or the newest first."""
    counted = (
        sa.select(campaign_counts.c.event, sa.func.sum(campaign_counts.c.count).label("count"))
        .where(campaign_counts.c.tenant == tenant, campaign_counts.c.campaign_id == campaigns.c.campaign_id)
        .group_by(campaign_counts.c.event)
        .subquery()
        .lateral()
    )
    page = sa.select(campaigns).where(campaigns.c.tenant == tenant).limit(limit)
    if containing is not None:
        page = page.where(campaigns.c.campaign_id.icontains(containing, autoescape=True))
    order = (campaigns.c.created_at, campaigns.c.campaign_id) if newest_first else (campaigns.c.campaign_id,)
    page = page.order_by(*((column.desc() for column in order) if newest_first else order))
    if after is not None:
        place = sa.tuple_(*order)
        page = page.where(place < tuple(after) if newest_first else place > tuple(after))
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


async def revoke_tokens(
    connection: AsyncConnection, tenant: str, campaign_id: str
) -> tuple[datetime | None, datetime] | None:
    """Revokes all tokens; returns the time of the former revocation and of this one, or None without a campaign."""
    former = sa.select(campaigns.c.revoked_at).where(*_is(tenant, campaign_id)).with_for_update()
    found = (await connection.execute(former)).first()
    if found is None:
        return None
    statement = (
        sa.update(campaigns)
        .where(*_is(tenant, campaign_id))
        .values(revoked_at=sa.func.statement_timestamp())
        .returning(campaigns.c.revoked_at)
    )
    return found.revoked_at, (await connection.execute(statement)).scalar_one()


async def lock_landing(connection: AsyncConnection, tenant: str, campaign_id: str) -> Landing | None:
    """The landing page, which nobody else changes before this transaction ends; the campaign is made if it is new."""
    statement = postgresql.insert(campaigns).values(tenant=tenant, campaign_id=campaign_id, created_at=sa.func.now())
    await connection.execute(statement.on_conflict_do_nothing())
    row = (await connection.execute(sa.select(campaigns).where(*_is(tenant, campaign_id)).with_for_update())).one()
    return _campaign(row).landing


async def write_landing(connection: AsyncConnection, tenant: str, campaign_id: str, landing: Landing) -> None:
    """Changes the campaign that `lock_landing` has locked."""
    values = {"destination_url": landing.destination_url, "offer": offers_of(landing)}
    await connection.execute(sa.update(campaigns).where(*_is(tenant, campaign_id)).values(values))


async def delete_landing(connection: AsyncConnection, tenant: str, campaign_id: str) -> Landing | None:
    """The landing page that was deleted; None if there was none."""
    present = sa.select(campaigns).where(*_is(tenant, campaign_id), campaigns.c.destination_url.is_not(None))
    row = (await connection.execute(present.with_for_update())).first()
    if row is None:
        return None
    statement = sa.update(campaigns).where(*_is(tenant, campaign_id))
    await connection.execute(statement.values(destination_url=None, offer=sa.null()))
    return _campaign(row).landing


async def tenants_with_landing(connection: AsyncConnection) -> list[str]:
    """Tenants with a landing page that have issued tokens; others have no key to try."""
    has_keys = sa.exists().where(keys.c.tenant == campaigns.c.tenant)
    statement = sa.select(campaigns.c.tenant).where(campaigns.c.destination_url.is_not(None), has_keys).distinct()
    return list(await connection.scalars(statement.order_by(campaigns.c.tenant)))


async def read_counts(
    connection: AsyncConnection,
    tenant: str,
    campaign_id: str,
    bucket: Bucket,
    zone: ZoneInfo,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    most: int | None = None,
) -> list[Count]:
    """The sums of each bucket and, without a start, of all of them: in one statement, so that they add up.

    Args:
        zone: in which days begin.
        since, until: counts of hours from here on, and before this.
        most: only so many buckets at the end; the sum is of all.
    """
    columns = campaign_counts.c
    start = sa.func.date_trunc(bucket.value, columns.hour, zone.key)
    where = [columns.tenant == tenant, columns.campaign_id == campaign_id]
    if since is not None:
        where.append(columns.hour >= since)
    if until is not None:
        where.append(columns.hour < until)
    group = (columns.event, columns.detail)
    total = sa.select(sa.null(), *group, sa.func.sum(columns.count)).where(*where).group_by(*group)
    by_bucket = sa.select(start, *group, sa.func.sum(columns.count)).where(*where).group_by(start, *group)
    if most is not None:
        latest = sa.select(sa.func.max(columns.hour)).where(*where).scalar_subquery()
        by_bucket = by_bucket.where(columns.hour > latest - most * _LENGTH[bucket])
    found = await connection.execute(sa.union_all(total, by_bucket))
    return [Count(row[0], row[1], row[2], int(row[3])) for row in found]


async def read_refused(connection: AsyncConnection, tenant: str, campaign_id: str) -> dict[str, int]:
    """Refusals by reason, of all time."""
    columns = campaign_counts.c
    statement = (
        sa.select(columns.detail, sa.func.sum(columns.count))
        .where(columns.tenant == tenant, columns.campaign_id == campaign_id, columns.event == "refused")
        .group_by(columns.detail)
    )
    return {row[0]: int(row[1]) for row in await connection.execute(statement)}


def _is(tenant: str, campaign_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return campaigns.c.tenant == tenant, campaigns.c.campaign_id == campaign_id


def _campaign(row: Any) -> Campaign:
    landing = None
    if row.destination_url is not None:
        landing = Landing(row.destination_url, {language: Offer(**offer) for language, offer in row.offer.items()})
    return Campaign(row.tenant, row.campaign_id, row.created_at, row.revoked_at, landing)


def offers_of(landing: Landing) -> Mapping[str, Mapping[str, str]]:
    """The texts of a landing page by language, as they are stored."""
    return {
        language: {"title": offer.title, "text": offer.text, "button": offer.button}
        for language, offer in landing.offers.items()
    }
