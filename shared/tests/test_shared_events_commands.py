"""The command line for endpoints and deliveries: what the API does, for operators, on the endpoints of all clients."""

import asyncio
import json

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from shared.db import Database
from shared.events.build import Events
from shared.events.command_line import event_commands
from shared.settings import ServiceSettings, settings_config
from typer.testing import CliRunner, Result

from .events_world import URL, World, build, held

pytestmark = pytest.mark.usefixtures("leaves_nothing")


class Settings(ServiceSettings):
    model_config = settings_config("SAMPLE_")
    port: int = 8123


class Shell:
    """Runs commands on the world's database, as an operator does beside the running service."""

    def __init__(self, world: World, url: str) -> None:
        keys = ServiceKeys()
        self._environment = {
            "SAMPLE_MODE": "development",
            "SAMPLE_DATABASE_URL": url,
            "SAMPLE_PUBLIC_URL": "http://localhost",
            "SAMPLE_SERVICE_KEY": keys.private("points-ledger"),
            "SAMPLE_SERVICE_PEERS": keys.peers,
        }
        sealer = world.events.endpoints._sealer

        def build_events(_: Settings, database: Database) -> Events:
            return build(database, world.receiver, sealer=sealer)

        self._commands = event_commands(Settings, build_events)

    async def __call__(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, self._commands, arguments, env=self._environment)

    async def lines(self, *arguments: str) -> list[str]:
        result = await self(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()


@pytest.fixture
def shell(world: World, shared_url: str) -> Shell:
    return Shell(world, shared_url)


async def add(world: World, name: str, *types: str, url: str = URL) -> str:
    answer = await world.events.endpoints.add(world.vendor(name), None, url=url, types=types, description="")
    endpoint_id: str = json.loads(answer.body)["endpoint_id"]
    return endpoint_id


async def test_endpoints_of_all_clients_are_listed_with_what_is_wrong_with_them(world: World, shell: Shell) -> None:
    good, bad = await add(world, "a"), await add(world, "b", "points.held")
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("b"), held("b", "t-2"))
    await world.settle()
    lines = await shell.lines("endpoints", "--tenant", world.tenant)
    assert lines[0] == f"{world.tenant}  {good}  client-of-a  enabled  {URL}  all types"
    assert f"{bad}  client-of-b  enabled  failing since 20" in lines[1]
    assert lines[1].endswith(f"Z  2 waiting  {URL}  points.held")
    assert await shell.lines("endpoints", "--tenant", "another") == []
    assert set(lines) <= set(await shell.lines("endpoints"))


async def test_deliveries_are_listed_with_attempts_status_and_times(world: World, shell: Shell) -> None:
    endpoint_id = await add(world, "a")
    await world.happen(held("a", "t-1"))
    await world.settle()
    world.receiver.answer = lambda _: httpx.Response(503)
    await world.happen(held("a", "t-2"))
    await world.settle()
    waiting, delivered = await shell.lines("deliveries", endpoint_id)
    assert "  points.held  waiting    1 attempt  503 at 20" in waiting
    assert "Z  next 20" in waiting
    assert "  points.held  delivered  1 attempt  204 at 20" in delivered
    assert "next" not in delivered
    assert await shell.lines("deliveries", endpoint_id, "--state", "delivered") == [delivered]
    assert await shell.lines("deliveries", endpoint_id, "--limit", "1") == [waiting]


async def test_one_event_or_all_since_an_instant_are_sent_again(world: World, shell: Shell) -> None:
    endpoint_id = await add(world, "a")
    await world.happen(held("a", "t-1"), held("a", "t-2"))
    await world.settle()
    first = world.receiver.event_ids[0]
    assert await shell.lines("replay", endpoint_id, "--event-id", first) == ["1 will be sent again"]
    await world.settle()
    assert world.receiver.event_ids.count(first) == 2
    assert await shell.lines("replay", endpoint_id, "--since", "2020-01-01T00:00:00Z") == ["2 will be sent again"]
    await world.settle()
    assert len(world.receiver.event_ids) == 5


async def test_a_test_event_says_what_came_back(world: World, shell: Shell) -> None:
    endpoint_id = await add(world, "a")
    assert (await shell.lines("test", endpoint_id))[0].startswith("delivered: status 204, ")
    assert json.loads(world.receiver.requests[-1].content)["type"] == "endpoint.test"
    world.receiver.answer = lambda _: httpx.Response(302)
    refused = await shell("test", endpoint_id)
    assert (refused.exit_code, refused.stdout.startswith("not delivered: status 302, ")) == (1, True)


async def test_an_operator_disables_an_endpoint_tells_its_client_and_enables_it_again(
    world: World, shell: Shell
) -> None:
    endpoint_id = await add(world, "a", url="http://127.0.0.1:9/noisy")
    await add(world, "a", "endpoint.disabled")
    assert "  disabled (disabled_by_operator)  " in (await shell.lines("disable", endpoint_id))[0]
    await shell.lines("disable", endpoint_id)
    await world.happen(held("a"))
    await world.settle()
    told = [json.loads(request.content) for request in world.receiver.requests]
    assert [(event["type"], event["data"]["disabled_because"]) for event in told] == [
        ("endpoint.disabled", "disabled_by_operator")
    ]
    assert "  enabled  " in (await shell.lines("enable", endpoint_id))[0]
    await world.happen(held("a", "t-2"))
    await world.settle()
    assert str(world.receiver.requests[-1].url) == "http://127.0.0.1:9/noisy"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deliveries", "ep_unknown"), "There is no such endpoint."),
        (("disable", "ep_unknown"), "There is no such endpoint."),
        (("replay", "ep_unknown"), "name either --event-id or --since"),
        (("replay", "ep_unknown", "--since", "yesterday"), "must be an ISO 8601 time with a zone"),
        (("deliveries", "ep_unknown", "--state", "lost"), "choose waiting, delivered or failed"),
    ],
)
async def test_what_cannot_be_done_is_said_in_words(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    refused = await shell(*arguments)
    assert refused.exit_code == 2
    # The runner takes the whole process's output, and chores of other tests may log meanwhile.
    assert [line for line in refused.stdout.splitlines() if '"level": ' not in line] == []
    assert " ".join(said.split()[:4]) in refused.stderr
