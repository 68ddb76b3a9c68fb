"""The use cases of campaigns."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.acts import Act, note
from shared.db import Database, driver_of
from shared.events.outbox import record
from shared.paging import Page
from shared.preconditions import ANY_STATE, Precondition
from shared.reports import Reports
from shared.times import iso

from token_service.campaigns import store
from token_service.campaigns.domain import (
    CAMPAIGNS,
    NEWEST_CAMPAIGNS,
    Bucket,
    Campaign,
    CampaignPlace,
    Landing,
    NewestPlace,
    Statistics,
    statistics_of,
)
from token_service.campaigns.recipients import RECIPIENTS, Recipient, read_recipients
from token_service.counting.store import NO_CAMPAIGN
from token_service.counting.tally import Tally
from token_service.events import campaign_revoked
from token_service.keys.store import read_clock
from token_service.tables import acts, events
from token_service.tokens.domain import CampaignNotFound, TokenState
from token_service.tokens.service import flush_quietly


class LandingNotFound(CampaignNotFound):
    code = "landing_not_found"


class CampaignService:
    """One a process."""

    def __init__(self, database: Database, reports: Reports, tally: Tally) -> None:
        self._database = database
        self._reports = reports
        self._tally = tally

    async def revoke_tokens(self, tenant: str, campaign_id: str, *, client_id: str) -> datetime:
        """Revokes every token of the campaign that was issued until now, at once and for all processes.

        Raises:
            CampaignNotFound: see there.
        """
        async with self._database.transaction() as connection:
            revoked = await store.revoke_tokens(connection, tenant, campaign_id)
            if revoked is None:
                raise CampaignNotFound
            former, revoked_at = revoked
            await record(connection, events, tenant, [campaign_revoked(campaign_id, revoked_at)])
            before = {"revoked_at": None if former is None else iso(former)}
            act = Act(tenant, client_id, "campaign_revoked", campaign_id, before, {"revoked_at": iso(revoked_at)})
            await note(connection, acts, act, revoked_at)
        return revoked_at

    async def statistics(
        self,
        tenant: str,
        campaign_id: str,
        bucket: Bucket,
        zone: ZoneInfo,
        *,
        reader: str,
        since: datetime | None = None,
        until: datetime | None = None,
        most: int | None = None,
    ) -> Statistics:
        """The campaign's counts.

        Args:
            zone: in which days begin.
            reader: who asks; each may make so many reports at once.
            most: only so many buckets at the end.

        Raises:
            CampaignNotFound, TooManyReports: as they say.
        """
        await flush_quietly(self._tally)
        async with self._reports.transaction(tenant, reader, may_be_old=True) as connection:
            campaign = await store.read_campaign(connection, tenant, campaign_id)
            if campaign is None:
                raise CampaignNotFound
            sums = await store.read_counts(
                connection, tenant, campaign_id, bucket, zone, since=since, until=until, most=most
            )
        return statistics_of(campaign, sums, bucket)

    async def refused_without_campaign(self, tenant: str, *, reader: str) -> dict[str, int]:
        """Refusals of tokens of no campaign, malformed or with no key of ours, by reason."""
        async with self._reports.transaction(tenant, reader, may_be_old=True) as connection:
            return await store.read_refused(connection, tenant, NO_CAMPAIGN)

    async def campaigns(
        self,
        tenant: str,
        *,
        reader: str,
        cursor: str | None,
        limit: int,
        containing: str | None = None,
        newest_first: bool = False,
    ) -> Page[tuple[Campaign, dict[str, int]]]:
        """Campaigns with their counts by event, in the order of their ids, or the newest first.

        Args:
            containing: only those whose id has these letters in it, in either case.

        Raises:
            InvalidCursor, TooManyReports: as they say.
        """
        by_id, newest = CAMPAIGNS.of(tenant, containing=containing), NEWEST_CAMPAIGNS.of(tenant, containing=containing)
        after = newest.place(cursor) if newest_first else by_id.place(cursor)
        await flush_quietly(self._tally)
        async with self._reports.transaction(tenant, reader, may_be_old=True) as connection:
            found = await store.list_campaigns(
                connection, tenant, after=after, limit=limit + 1, containing=containing, newest_first=newest_first
            )
        if newest_first:
            return newest.cut(found, limit, lambda row: NewestPlace(row[0].created_at, row[0].campaign_id))
        return by_id.cut(found, limit, lambda row: CampaignPlace(row[0].campaign_id))

    async def recipients(
        self, tenant: str, campaign_id: str, *, reader: str, state: TokenState | None, cursor: str | None, limit: int
    ) -> Page[Recipient]:
        """The campaign's tokens in the order of issuing. With a state, a page may be short and still lead on.

        Raises:
            CampaignNotFound, InvalidCursor: as they say.
        """
        pages = RECIPIENTS.of(tenant, campaign_id, state=state)
        after = pages.place(cursor)
        await flush_quietly(self._tally)
        async with self._reports.transaction(tenant, reader) as connection:
            driver = await driver_of(connection)
            found = await read_recipients(driver, tenant, campaign_id, after=after, limit=limit, state=state)
        if found is None:
            raise CampaignNotFound
        recipients, last = found
        return Page(recipients, None if last is None else pages.cursor(last))

    async def landing(self, tenant: str, campaign_id: str) -> Landing:
        """Raises LandingNotFound."""
        async with self._database.transaction() as connection:
            campaign = await store.read_campaign(connection, tenant, campaign_id)
        if campaign is None or campaign.landing is None:
            raise LandingNotFound
        return campaign.landing

    async def set_landing(
        self,
        tenant: str,
        campaign_id: str,
        landing: Landing,
        condition: Precondition = ANY_STATE,
        *,
        client_id: str,
    ) -> bool:
        """Sets the landing page; returns whether there was none before.

        Raises:
            PreconditionFailed: as it says.
        """
        async with self._database.transaction() as connection:
            present = await store.lock_landing(connection, tenant, campaign_id)
            condition.check(present)
            await store.write_landing(connection, tenant, campaign_id, landing)
            if present != landing:
                before = None if present is None else _in_words(present)
                act = Act(tenant, client_id, "landing_page_changed", campaign_id, before, _in_words(landing))
                await note(connection, acts, act, await read_clock(connection))
        return present is None

    async def remove_landing(self, tenant: str, campaign_id: str, *, client_id: str) -> None:
        """Raises LandingNotFound."""
        async with self._database.transaction() as connection:
            former = await store.delete_landing(connection, tenant, campaign_id)
            if former is None:
                raise LandingNotFound
            act = Act(tenant, client_id, "landing_page_removed", campaign_id, before=_in_words(former))
            await note(connection, acts, act, await read_clock(connection))


def _in_words(landing: Landing) -> dict[str, Any]:
    return {"destination_url": landing.destination_url, "offer": store.offers_of(landing)}
