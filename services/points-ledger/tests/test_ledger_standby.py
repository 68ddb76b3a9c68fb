"""What may be old can be read from a standby, and nothing else is."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.databases import new_database
from platform_testing.plans import connected
from platform_testing.serving import running
from platform_testing.standbys import Pair, primary_and_standby
from points_ledger.app import create_app
from points_ledger.holds.watching import VendorsWatch
from shared.reports import Reports

from .conftest import MakeSettings
from .parties import EAI, Platform, Vendor

IS_OVER = "SELECT expires_at <= clock_timestamp() FROM points_ledger.transactions WHERE tenant = $1"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with primary_and_standby(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="module")
def url(servers: Pair) -> str:
    """Where the ledger's tables are in the primary."""
    return new_database(servers.primary, "points_ledger")


@pytest.fixture
async def client(
    make_settings: MakeSettings, register: FakeRegister, servers: Pair, url: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Of a ledger that knows both."""
    await servers.catch_up()
    settings = make_settings(database_url=url, reports_database_url=servers.of_standby(url))
    async with running(create_app(settings, register=register)) as client:
        yield client


async def test_a_statement_may_be_as_old_as_the_standby_and_nothing_else_is(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, servers: Pair
) -> None:
    user = await platform.user_with(100)

    async def points_of_entries() -> list[int]:
        answer = await client.get(f"/v1/accounts/{user}/entries", headers=platform.headers)
        return [entry["points"] for entry in answer.json()["entries"]]

    async with servers.left_behind():
        assert (await shop.commit(user, "t-1", 40)).status_code == 200
        assert (await shop.confirm(user, "t-1")).status_code == 200

        assert await points_of_entries() == [100]
        assert await platform.balance(user) == (60, 0)
        assert (await shop.look_up("t-1")).json()["state"] == "confirmed"
        listed = (await client.get(EAI, headers=shop.headers)).json()["transactions"]
        assert [one["transactionid"] for one in listed] == ["t-1"]
        now = (await client.get(f"/eai/v1/balances/{user}", headers=shop.headers)).json()["as_of"]
        past = await client.get(f"/v1/accounts/{user}", params={"at": now}, headers=platform.headers)
        assert past.json()["available"] == 60
    assert await points_of_entries() == [-40, 100]


async def test_a_statement_is_read_from_the_standby_also_while_a_hold_has_ended_and_is_not_released(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, servers: Pair, url: str, tenant: str
) -> None:
    """A balance would wait for who may be confirming, and a standby locks nothing."""
    await client.put("/v1/vendors/shop", json={"hold_seconds": 1}, headers=platform.headers)
    user = await platform.user_with(100)
    assert (await shop.commit(user, "t-1", 40)).status_code == 200
    await servers.catch_up()
    async with servers.left_behind(), connected(url) as rows:
        while not await rows.fetchval(IS_OVER, tenant):
            continue
        answer = await client.get(f"/v1/accounts/{user}/entries", headers=platform.headers)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/v1/ledger/seals", "/v1/holds"])
async def test_lists_can_be_read_wherever_they_come_from(
    client: httpx.AsyncClient, platform: Platform, path: str
) -> None:
    assert (await client.get(path, headers=platform.headers)).status_code == 200


async def test_vendors_are_watched_from_the_standby(make_settings: MakeSettings, servers: Pair, url: str) -> None:
    await servers.catch_up()
    reports = Reports.of(make_settings(database_url=url, reports_database_url=servers.of_standby(url)))
    try:
        await VendorsWatch(reports).look()
    finally:
        await reports.close()
