"""Statistics can be read from a standby; tokens never are."""

from collections.abc import AsyncIterator, Iterator

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.databases import new_database
from platform_testing.serving import running
from platform_testing.standbys import Pair, primary_and_standby
from token_service.app import create_app

from .campaign_house import House
from .conftest import MakeSettings


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with primary_and_standby(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture
async def house(
    make_settings: MakeSettings, register: FakeRegister, servers: Pair, campaign: dict[str, str], tenant: str
) -> AsyncIterator[House]:
    """Of a service that knows both servers."""
    url = new_database(servers.primary, "token_service")
    await servers.catch_up()
    app = create_app(make_settings(database_url=url, reports_database_url=servers.of_standby(url)), register=register)
    async with running(app) as client:
        yield House(app, client, campaign, tenant)


async def test_statistics_may_be_as_old_as_the_standby_and_tokens_are_not(house: House, servers: Pair) -> None:
    await house.issue()
    # The counts so far are written before they are read, perhaps from a standby that does not know the campaign yet.
    await house.client.get("/v1/campaigns/spring/stats", headers=house.headers)
    async with servers.left_behind():
        token = await house.issue()
        assert (await house.verify(token)).status_code == 200
        assert (await house.get("/v1/campaigns/spring/stats"))["issued"] == 1
        listed = await house.get("/v1/campaigns/spring/tokens")
        assert len(listed["tokens"]) == 2
        assert [each["campaign_id"] for each in (await house.get("/v1/campaigns"))["campaigns"]] == ["spring"]
    assert (await house.get("/v1/campaigns/spring/stats"))["issued"] == 2
