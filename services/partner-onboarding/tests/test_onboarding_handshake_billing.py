"""Months that come round: on the right day, once, whatever runs late, twice or on two machines, over years."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from partner_onboarding.app import create_app
from partner_onboarding.handshake.links.billing import Billing
from partner_onboarding.handshake.links.periods import month_of, parse_month, period_start, periods_due
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.settings import Settings
from platform_testing.serving import running

from .handshake_partner import Partner, TurnedClock
from .onboarding_house import FAST, House

# Hypothesis takes bounds without a zone.
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 — see above


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]  # year, month, day, …


def test_the_31st_comes_back_after_a_short_month() -> None:
    starts = [period_start(at(2026, 1, 31, 9, 30), n) for n in range(5)]
    assert [f"{start:%m-%d}" for start in starts] == ["01-31", "02-28", "03-31", "04-30", "05-31"]
    assert {(start.hour, start.minute) for start in starts} == {(9, 30)}


def test_leap_years_and_turns_of_the_year() -> None:
    assert period_start(at(2027, 12, 31), 2) == at(2028, 2, 29)
    assert period_start(at(2028, 2, 29), 12) == at(2029, 2, 28)
    assert period_start(at(2026, 12, 15), 1) == at(2027, 1, 15)


@given(MOMENTS, st.integers(0, 240))
def test_every_month_has_exactly_one_period(activated_at: datetime, n: int) -> None:
    one, next_one = period_start(activated_at, n), period_start(activated_at, n + 1)
    month, next_month = month_of(one), month_of(next_one)
    assert (next_month.year * 12 + next_month.month) - (month.year * 12 + month.month) == 1
    assert timedelta(days=28) <= next_one - one <= timedelta(days=31)


@given(MOMENTS, st.integers(0, 60), st.integers(0, 800))
def test_what_is_due_is_the_same_in_one_go_and_in_many(activated_at: datetime, steps: int, days: int) -> None:
    until = activated_at + timedelta(days=days)
    bit_by_bit: list[datetime] = []
    for step in range(steps + 1):
        moment = activated_at + (until - activated_at) * step / max(steps, 1)
        bit_by_bit += periods_due(activated_at, len(bit_by_bit), moment)
    bit_by_bit += periods_due(activated_at, len(bit_by_bit), until)
    assert bit_by_bit == periods_due(activated_at, 0, until)


def test_a_month_is_read_as_it_is_written() -> None:
    assert parse_month("2026-02") == date(2026, 2, 1)


@dataclass
class Years:
    """The service under a clock that a test turns, and two replicas of the job."""

    house: House
    clock: TurnedClock
    jobs: tuple[Billing, Billing]


@pytest.fixture(scope="module")
async def turned(settings: Settings) -> AsyncIterator[tuple[FastAPI, TurnedClock]]:
    """The service under a clock that each test turns from its beginning."""
    clock = TurnedClock()
    nowhere = httpx.MockTransport(lambda _: httpx.Response(503))
    app = create_app(settings, cost=FAST, tokens_transport=nowhere, clock=clock)
    async with running(app):
        yield app, clock


@pytest.fixture
def years(turned: tuple[FastAPI, TurnedClock], house: House) -> Years:
    app, clock = turned
    clock.now = TurnedClock().now
    database = house.register.database
    late = House(app, house.register, house.neighbours, house.tenant, house.keys)
    return Years(late, clock, (Billing(database, clock), Billing(database, clock)))


async def activated(years: Years, user_id: str = "erika") -> Partner:
    partner = await Partner.of(years.house)
    await years.house.user(user_id)
    await partner.link(user_id, years.clock.now)
    assert (await partner.get(f"activate-user/{user_id}")).status_code == 200
    return partner


async def days_of(partner: Partner, user_id: str = "erika") -> list[str]:
    return [one["assignedAt"][:10] for one in (await partner.events())[user_id]["assignments"]]


async def test_three_years_by_two_replicas_give_one_month_each(years: Years) -> None:
    partner = await activated(years)
    for _ in range(36):
        years.clock.turn(days=31)
        await asyncio.gather(*(job.assign_due() for job in years.jobs * 2))
    days = await days_of(partner)
    assert days[:4] == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    months = [day[:7] for day in days]
    assert len(months) == len(set(months))
    begun = len(periods_due(at(2026, 1, 31, 9, 30), 0, years.clock.now))
    assert len(months) == begun >= 36


async def test_a_job_that_comes_a_year_late_assigns_what_it_would_have(years: Years) -> None:
    partner = await activated(years)
    years.clock.turn(days=364)
    await asyncio.gather(*(job.assign_due() for job in years.jobs))
    days = await days_of(partner)
    assert days == [f"{period_start(at(2026, 1, 31), n):%Y-%m-%d}" for n in range(12)]
    assert (await partner.bill("2026-02"))["sum"] == 1
    assert await years.jobs[0].assign_due() == 0


async def test_nothing_is_assigned_before_its_instant_nor_after_the_removal(years: Years) -> None:
    partner = await activated(years)
    years.clock.now = at(2026, 2, 28, 9, 29, 59)
    await years.jobs[0].assign_due()
    assert len(await days_of(partner)) == 1
    years.clock.now = at(2026, 2, 28, 9, 30)
    await years.jobs[0].assign_due()
    assert len(await days_of(partner)) == 2
    years.clock.now = at(2026, 4, 1)
    # The month of March had begun before the partner removed the person, and no job had come round.
    assert (await partner.remove("erika")).status_code == 200
    years.clock.turn(days=400)
    await asyncio.gather(*(job.assign_due() for job in years.jobs))
    assert await days_of(partner) == ["2026-01-31", "2026-02-28", "2026-03-31"]


async def test_who_is_removed_and_comes_back_within_a_month_is_billed_once(years: Years) -> None:
    partner = await activated(years)
    years.clock.now = at(2026, 2, 3)
    await partner.remove("erika")
    await partner.link("erika", years.clock.now)
    assert (await partner.get("activate-user/erika")).status_code == 200
    years.clock.now = at(2026, 2, 10)
    await partner.remove("erika")
    await partner.link("erika", years.clock.now)
    assert (await partner.get("activate-user/erika")).status_code == 200
    years.clock.now = at(2026, 4, 30)
    await years.jobs[0].assign_due()
    assert await days_of(partner) == ["2026-01-31", "2026-02-03", "2026-03-10", "2026-04-10"]
    for month in ("2026-01", "2026-02", "2026-03", "2026-04"):
        assert (await partner.bill(month))["sum"] == 1


async def test_many_people_over_a_year_are_billed_as_the_event_list_says(years: Years) -> None:
    partner = await Partner.of(years.house)
    for number in range(12):
        years.clock.now = at(2026, number + 1, 1 + 2 * number)
        await years.house.user(f"u{number}")
        await partner.link(f"u{number}", years.clock.now)
        await partner.get(f"activate-user/u{number}")
        await asyncio.gather(*(job.assign_due() for job in years.jobs))
        if number % 3 == 2:
            await partner.remove(f"u{number - 1}")
    listed = sorted(
        (one["assignedAt"], user_id)
        for user_id, told in (await partner.events()).items()
        for one in told["assignments"]
    )
    billed = [await partner.bill(f"2026-{month:02d}") for month in range(1, 13)]
    assert sorted((one["assignedAt"], one["userId"]) for bill in billed for one in bill["assignments"]) == listed
    assert sum(bill["sum"] for bill in billed) == len(listed)


async def test_activation_and_removal_at_once_leave_no_month_behind(years: Years) -> None:
    partner = await activated(years)
    years.clock.now = at(2026, 3, 15)
    links = Links(years.house.register.database, years.house.register.answers, years.clock)

    async def remove() -> None:
        async with years.house.register.database.transaction() as connection:
            await links.remove(connection, years.house.tenant, partner.client_id, "erika", by="partner")

    await asyncio.gather(remove(), *(job.assign_due() for job in years.jobs))
    assert await days_of(partner) == ["2026-01-31", "2026-02-28"]


async def entitlements(years: Years, user_id: str = "erika") -> dict[str, Any]:
    reader = await years.house.caller("users:read")
    answer = await years.house.http.get(f"/v1/users/{user_id}/entitlements", headers=reader)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    assert told.pop("user_id") == user_id
    return told


NOTHING: dict[str, Any] = {"write_access": None, "plans": []}


async def test_entitlements_are_true_to_the_second_though_no_job_comes_round(years: Years) -> None:
    partner = await Partner.of(years.house)
    await years.house.user("erika")
    assert await entitlements(years) == NOTHING
    await partner.link("erika", years.clock.now)
    assert await entitlements(years) == NOTHING
    assert (await partner.get("activate-user/erika")).status_code == 200
    plan = {"partner_id": partner.client_id, "name": "Test", "since": "2026-01-31T09:30:00.000Z"}

    def until(moment: str) -> dict[str, str]:
        return {"until": moment, "partner_id": partner.client_id}

    first, second = "2026-02-28T09:30:00.000Z", "2026-03-31T09:30:00.000Z"
    assert await entitlements(years) == {"write_access": until(first), "plans": [plan]}
    years.clock.now = at(2026, 2, 28, 9, 29, 59)
    assert await entitlements(years) == {"write_access": until(first), "plans": [plan]}
    years.clock.now = at(2026, 2, 28, 9, 30)
    assert await entitlements(years) == {"write_access": until(second), "plans": [plan]}
    years.clock.now = at(2026, 3, 5)
    assert (await partner.remove("erika")).status_code == 200
    # The month that has begun is the person's to its end; the plan goes with the link.
    assert await entitlements(years) == {"write_access": until(second), "plans": []}
    years.clock.now = at(2026, 3, 31, 9, 29, 59)
    assert await entitlements(years) == {"write_access": until(second), "plans": []}
    years.clock.now = at(2026, 3, 31, 9, 30)
    assert await entitlements(years) == NOTHING


async def test_of_several_partners_the_longest_write_access_counts(years: Years) -> None:
    one = await activated(years)
    years.clock.now = at(2026, 2, 10, 12)
    two = await Partner.of(years.house)
    await two.link("erika", years.clock.now)
    await two.get("activate-user/erika")
    told = await entitlements(years)
    assert told["write_access"] == {"until": "2026-03-10T12:00:00.000Z", "partner_id": two.client_id}
    assert [plan["partner_id"] for plan in told["plans"]] == [one.client_id, two.client_id]
    await years.house.sign_in(years.house.address("erika"))
    page = await years.house.http.get("/account", headers={"Accept": "text/html", "Accept-Language": "en"})
    assert "You have write access until" in page.text
    assert page.text.count("Plan active since") == 2


async def test_entitlements_are_for_readers_of_the_users_own_tenant(years: Years) -> None:
    await activated(years)
    other = await years.house.caller("users:read", tenant=await years.house.another_tenant())
    for headers, user_id in ((other, "erika"), (await years.house.caller("users:read"), "nobody")):
        refused = await years.house.http.get(f"/v1/users/{user_id}/entitlements", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (404, "user_not_found")
    writer = await years.house.caller("users:write")
    assert (await years.house.http.get("/v1/users/erika/entitlements", headers=writer)).status_code == 403
