"""A vendor's hold time is asked for with every commit, and must neither crowd the database nor the memory."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from points_ledger.vendors import queries
from points_ledger.vendors.hold_times import HoldTimes
from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Unavailable
from sqlalchemy.ext.asyncio import AsyncConnection

from .parties import Platform


@pytest.fixture
async def times(ledger_url: str) -> AsyncIterator[HoldTimes]:
    database = Database(ledger_url, pool_size=2)
    yield HoldTimes(database, default_seconds=900)
    await database.dispose()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the database was asked for."""
    read, asked = queries.read_hold_seconds, []

    async def noted(connection: AsyncConnection, tenant: str, vendor_id: str) -> int | None:
        asked.append((tenant, vendor_id))
        return await read(connection, tenant, vendor_id)

    monkeypatch.setattr(queries, "read_hold_seconds", noted)
    return asked


async def test_a_thousand_commits_at_once_ask_once(times: HoldTimes, asked: list[tuple[str, str]], tenant: str) -> None:
    """Each in a transaction of its own, they would hold all connections from everybody else."""
    answers = await asyncio.gather(*(times.of(tenant, "shop") for _ in range(1000)))

    assert set(answers) == {timedelta(seconds=900)}
    assert asked == [(tenant, "shop")]


async def test_what_was_set_counts_at_once_also_for_those_who_are_asking(times: HoldTimes, tenant: str) -> None:
    assert await times.of(tenant, "shop") == timedelta(seconds=900)
    await times.set(tenant, "shop", 5, client_id="c")
    assert await times.of(tenant, "shop") == timedelta(seconds=5)
    assert await times.of(tenant, "mall") == timedelta(seconds=900)

    asking = asyncio.gather(*(times.of(tenant, "park") for _ in range(5)))
    await times.set(tenant, "park", 7, client_id="c")
    await asking
    assert await times.of(tenant, "park") == timedelta(seconds=7)


async def test_a_caller_that_hangs_up_takes_the_answer_from_nobody(times: HoldTimes, tenant: str) -> None:
    gone, stays = (asyncio.create_task(times.of(tenant, "shop")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()

    assert await stays == timedelta(seconds=900)
    assert gone.cancelled()


async def test_trouble_is_not_remembered(times: HoldTimes, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = queries.read_hold_seconds

    async def fail(*_: object) -> int:
        raise ConnectionResetError

    monkeypatch.setattr(queries, "read_hold_seconds", fail)
    for answer in await asyncio.gather(*(times.of(tenant, "shop") for _ in range(3)), return_exceptions=True):
        assert isinstance(answer, Unavailable)
    monkeypatch.setattr(queries, "read_hold_seconds", read)
    assert await times.of(tenant, "shop") == timedelta(seconds=900)


async def test_no_more_vendors_are_remembered_than_agreed(
    times: HoldTimes, asked: list[tuple[str, str]], tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "_known", Bounded(3))
    for number in range(6):
        await times.of(tenant, f"vendor-{number}")
    asked.clear()

    for number in (5, 4, 3, 0):
        await times.of(tenant, f"vendor-{number}")
    assert asked == [(tenant, "vendor-0")]


async def test_of_changes_to_one_state_of_a_hold_time_one_is_made(
    client: httpx.AsyncClient, platform: Platform
) -> None:
    """The default is a state like any other."""

    async def put(seconds: int, tag: str) -> httpx.Response:
        headers = {**platform.headers, "If-Match": tag}
        return await client.put("/v1/vendors/careful", json={"hold_seconds": seconds}, headers=headers)

    for first in (10, 20):
        tag = (await client.get("/v1/vendors/careful", headers=platform.headers)).headers["ETag"]
        answers = await asyncio.gather(*(put(first + number, tag) for number in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412]
        (winner,) = [answer for answer in answers if answer.status_code == 200]
        present = await client.get("/v1/vendors/careful", headers=platform.headers)
        assert (present.json(), present.headers["ETag"]) == (winner.json(), winner.headers["ETag"])
