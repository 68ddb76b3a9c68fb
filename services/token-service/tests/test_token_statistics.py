"""Statistics: summed up by the database, by the days of a time zone, and never in the way of the rest."""

from base64 import b64decode
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from platform_testing.interleaving import answers_between
from shared.dependencies import provided
from shared.reports import Reports
from sqlalchemy.ext.asyncio import AsyncConnection
from token_service.campaigns import store
from token_service.campaigns.charts import _round_up
from token_service.campaigns.domain import Bucket
from token_service.campaigns.service import CampaignService
from token_service.landing.service import LandingService

from .campaign_house import OFFER, House, refusal

COUNTED = """
INSERT INTO token_service.campaign_counts (tenant, campaign_id, hour, event, detail, count)
VALUES (:tenant, 'spring', '2026-03-28T22:00:00Z', 'issued', '', 2),
       (:tenant, 'spring', '2026-03-28T23:00:00Z', 'issued', '', 3),
       (:tenant, 'spring', '2026-03-29T21:00:00Z', 'verified', 'person', 5),
       (:tenant, 'spring', '2026-03-29T22:00:00Z', 'refused', 'token_used_up', 7)
"""


async def stats(house: House, **params: str) -> Any:
    return await house.get("/v1/campaigns/spring/stats", **params)


async def test_days_begin_in_the_time_zone_that_is_asked_for(house: House) -> None:
    """In Berlin, the 29th of March 2026 had 23 hours."""
    await house.issue()
    await house.execute(COUNTED, tenant=house.tenant)
    until = "2026-04-01T00:00:00Z"
    in_utc = await stats(house, until=until)
    assert [each["start"] for each in in_utc["buckets"]] == ["2026-03-28T00:00:00.000Z", "2026-03-29T00:00:00.000Z"]
    assert [each["issued"] for each in in_utc["buckets"]] == [5, 0]
    in_berlin = await stats(house, until=until, tz="Europe/Berlin")
    assert [(each["start"], each["issued"], each["verified"], each["refused"]) for each in in_berlin["buckets"]] == [
        ("2026-03-27T23:00:00.000Z", 2, 0, {}),
        ("2026-03-28T23:00:00.000Z", 3, 5, {}),
        ("2026-03-29T22:00:00.000Z", 0, 0, {"token_used_up": 7}),
    ]
    for found in (in_utc, in_berlin):
        assert (found["issued"], found["verified"], found["refused"]) == (5, 5, {"token_used_up": 7})
    assert (await stats(house, bucket="hour", tz="Asia/Kolkata", until=until))["buckets"][0]["issued"] == 2


async def test_buckets_add_up_to_the_total_whatever_is_counted_meanwhile(house: House) -> None:
    await house.execute(COUNTED, tenant=house.tenant)

    async def read(connection: AsyncConnection) -> tuple[int, int]:
        """Of all buckets together, and in total."""
        found = await store.read_counts(connection, house.tenant, "spring", Bucket.DAY, ZoneInfo("UTC"))
        return (
            sum(count.count for count in found if count.start is not None),
            sum(count.count for count in found if count.start is None),
        )

    more = "UPDATE token_service.campaign_counts SET count = count + 1 WHERE tenant = :tenant"
    async for in_buckets, in_total in answers_between(
        house.database, read, lambda _: house.execute(more, tenant=house.tenant)
    ):
        assert in_buckets == in_total


@pytest.mark.parametrize("zone", ["Nowhere/City", "../etc/passwd", ""])
async def test_an_unknown_time_zone_is_refused(house: House, zone: str) -> None:
    await house.issue()
    answer = await house.client.get(f"/v1/campaigns/spring/stats?tz={zone}", headers=house.headers)
    assert refusal(answer) == (400, "malformed_request")


async def test_page_views_are_those_of_people(house: House) -> None:
    await house.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=house.headers)
    token = await house.issue()
    provided(house.app, LandingService)._read_at = float("-inf")
    for agent in ("Mozilla/5.0 Firefox", "Mozilla/5.0 SafeLinks", "curl/8", ""):
        await house.client.get(f"/t/{token}", headers={"User-Agent": agent})
    found = await stats(house)
    assert (found["opened"], found["opened_by"]) == (1, {"person": 1, "bot": 2, "scanner": 1})


async def test_a_client_makes_so_many_reports_at_once_and_issuing_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.issue()
    reports = Reports(house.database, seconds=10, at_once=1)
    monkeypatch.setattr(provided(house.app, CampaignService), "_reports", reports)
    client_id = b64decode(house.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")[0]
    async with reports.transaction(house.tenant, client_id):
        for path in ("spring/stats", "spring/tokens"):
            answer = await house.client.get(f"/v1/campaigns/{path}", headers=house.headers)
            assert refusal(answer) == (429, "too_many_reports")
            assert int(answer.headers["retry-after"]) > 0
        assert (await house.verify(await house.issue())).status_code == 200
    assert (await stats(house))["issued"] == 2


@pytest.mark.parametrize(
    ("number", "top"), [(0, 2), (1, 2), (2, 2), (3, 4), (7, 10), (10, 20), (5001, 6000), (99, 100)]
)
def test_an_axis_ends_with_a_round_number(number: int, top: int) -> None:
    assert _round_up(number) == top
