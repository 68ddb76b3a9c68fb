"""What happens to an endpoint while events are on their way to it, and who waits for whom."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from shared.db import Database
from shared.events.domain import Delivery, Reader
from shared.events.endpoints import Change
from shared.sealing import Sealer

from .events_world import TABLES, URL, Receiver, World, build, held

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@dataclass
class Gate:
    """A receiver that keeps its callers waiting until it is opened; then it answers as it is told to."""

    status: int = 200
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    paths: list[str] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        self.arrived.set()
        await self.opened.wait()
        return httpx.Response(self.status)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def gated(database: Database, tenant: str, gate: Gate) -> AsyncIterator[World]:
    events = build(database, gate)
    yield World(database, events, Receiver(), tenant)
    gate.opened.set()
    await events.close()


async def add(world: World, reader: Reader, url: str = URL) -> str:
    answer = await world.events.endpoints.add(reader, None, url=url, types=(), description="")
    endpoint_id: str = json.loads(answer.body)["endpoint_id"]
    return endpoint_id


async def send_one(world: World, gate: Gate) -> str:
    """An event of vendor a that is under way: it has arrived, and no answer has."""
    endpoint_id = await add(world, world.vendor("a"))
    await world.happen(held("a"))
    await world.events.feed.number_recorded()
    await world.events.deliveries.spread()
    await world.events.dispatcher.send_due()
    await gate.arrived.wait()
    return endpoint_id


async def answer(world: World, gate: Gate, status: int) -> None:
    gate.status = status
    gate.opened.set()
    await world.events.dispatcher.wait()


async def deliveries(world: World, endpoint_id: str) -> list[Delivery]:
    page = await world.events.deliveries.page(world.vendor("a"), endpoint_id, state=None, cursor=None, limit=100)
    return page.items


async def test_what_an_address_answered_disables_no_address_that_has_taken_its_place(gated: World, gate: Gate) -> None:
    endpoint_id = await send_one(gated, gate)
    await gated.events.endpoints.change(gated.vendor("a"), endpoint_id, Change(url="http://127.0.0.1:9/new"))
    await answer(gated, gate, 410)
    assert (await gated.events.endpoints.get(gated.vendor("a"), endpoint_id)).enabled
    (delivery,) = await deliveries(gated, endpoint_id)
    assert (delivery.state, delivery.status) == ("waiting", 410)
    gate.status = 200
    await gated.make_due()
    await gated.settle()
    assert gate.paths == ["/hook", "/new"]


async def test_a_new_address_has_not_failed_yet(gated: World, gate: Gate) -> None:
    endpoint_id = await send_one(gated, gate)
    await answer(gated, gate, 500)
    vendor = gated.vendor("a")
    assert (await gated.events.endpoints.get(vendor, endpoint_id)).failing_since is not None
    changed = await gated.events.endpoints.change(vendor, endpoint_id, Change(url="http://127.0.0.1:9/new"))
    assert changed.failing_since is None


async def test_what_is_asked_for_again_while_it_is_under_way_is_sent_again(gated: World, gate: Gate) -> None:
    endpoint_id = await send_one(gated, gate)
    (delivery,) = await deliveries(gated, endpoint_id)
    await gated.events.deliveries.replay(gated.vendor("a"), endpoint_id, event_id=delivery.event_id)
    await answer(gated, gate, 200)
    await gated.settle()
    assert len(gate.paths) == 2
    (delivery,) = await deliveries(gated, endpoint_id)
    assert (delivery.state, delivery.attempts) == ("delivered", 1)


async def test_what_a_process_that_ends_has_not_begun_is_due_for_the_others_at_once(gated: World, gate: Gate) -> None:
    endpoint_id = await add(gated, gated.vendor("a"))
    await gated.happen(*(held("a", f"t-{number}") for number in range(30)))
    await gated.events.feed.number_recorded()
    await gated.events.deliveries.spread()
    await gated.events.dispatcher.send_due()
    await gate.arrived.wait()
    ending = asyncio.create_task(gated.events.close())
    await asyncio.sleep(0)
    gate.opened.set()
    await ending
    begun = [one for one in await deliveries(gated, endpoint_id) if one.attempts]
    assert {one.state for one in begun} == {"delivered"}
    assert 0 < len(begun) < 30
    other = World(
        gated.database, build(gated.database, gate, sealer=gated.events.endpoints._sealer), Receiver(), gated.tenant
    )
    await other.settle()
    assert {(one.state, one.attempts) for one in await deliveries(other, endpoint_id)} == {("delivered", 1)}
    assert len(gate.paths) == 30
    await other.events.close()


async def test_after_a_refusal_nothing_more_is_begun_and_what_was_not_begun_has_not_failed(
    gated: World, gate: Gate
) -> None:
    endpoint_id = await add(gated, gated.vendor("a"))
    await gated.happen(*(held("a", f"t-{number}") for number in range(30)))
    await gated.events.feed.number_recorded()
    await gated.events.deliveries.spread()
    await gated.events.dispatcher.send_due()
    await gate.arrived.wait()
    await answer(gated, gate, 500)
    listed = await deliveries(gated, endpoint_id)
    assert len(gate.paths) == len([one for one in listed if one.attempts]) < 30
    assert {(one.state, one.status) for one in listed if not one.attempts} == {("waiting", None)}


async def test_an_endpoint_that_is_removed_while_an_event_is_under_way_leaves_nothing(gated: World, gate: Gate) -> None:
    endpoint_id = await send_one(gated, gate)
    await gated.events.endpoints.remove(gated.vendor("a"), endpoint_id)
    await answer(gated, gate, 200)
    async with gated.database.transaction() as connection:
        query = sa.select(sa.func.count()).where(TABLES.deliveries.c.endpoint_id == endpoint_id)
        assert (await connection.execute(query)).scalar_one() == 0


async def test_a_second_410_tells_of_the_end_no_second_time(gated: World, gate: Gate) -> None:
    endpoint_id = await add(gated, gated.vendor("a"))
    await gated.happen(held("a"), held("a", "t-2"))
    await gated.events.feed.number_recorded()
    await gated.events.deliveries.spread()
    other = build(gated.database, gate, sealer=gated.events.endpoints._sealer)
    # Each process has one of the two.
    async with gated.database.transaction() as connection:
        columns = TABLES.deliveries.c
        later = sa.select(sa.func.max(columns.number)).where(columns.endpoint_id == endpoint_id).scalar_subquery()
        query = sa.update(TABLES.deliveries).where(columns.endpoint_id == endpoint_id, columns.number == later)
        await connection.execute(query.values(next_attempt_at=sa.func.now() + timedelta(hours=1)))
    await gated.events.dispatcher.send_due()
    await gate.arrived.wait()
    gate.arrived.clear()
    async with gated.database.transaction() as connection:
        await connection.execute(query.values(next_attempt_at=sa.func.now()))
    await other.dispatcher.send_due()
    await gate.arrived.wait()
    gate.status = 410
    gate.opened.set()
    await asyncio.gather(gated.events.dispatcher.wait(), other.dispatcher.wait())
    await gated.events.feed.number_recorded()
    told = await gated.events.feed.read(gated.platform, after=None, types=("endpoint.disabled",), limit=10)
    assert [event.data["endpoint_id"] for event in told.events] == [endpoint_id]
    await other.close()


async def test_nothing_is_sent_to_a_disabled_endpoint_and_what_waited_goes_on_when_it_is_enabled(
    world: World,
) -> None:
    vendor = world.vendor("a")
    endpoint_id = await add(world, vendor)
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("a", "t-1"))
    await world.settle()
    await world.events.endpoints.change(vendor, endpoint_id, Change(enabled=False))
    await world.happen(held("a", "t-2"))
    await world.make_due()
    await world.settle()
    assert len(world.receiver.requests) == 1
    world.receiver.answer = lambda _: httpx.Response(204)
    await world.events.endpoints.change(vendor, endpoint_id, Change(enabled=True))
    await world.happen(held("a", "t-3"))
    await world.settle()
    heard = [json.loads(request.content)["data"]["transactionid"] for request in world.receiver.requests]
    assert sorted(heard) == ["t-1", "t-1", "t-3"]


async def test_twenty_dead_endpoints_of_each_of_many_clients_delay_no_other(database: Database, tenant: str) -> None:
    stuck = asyncio.Event()

    async def receive(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/dead":
            await stuck.wait()
            return httpx.Response(500)
        quick.append(request.url.path)
        return httpx.Response(200)

    quick: list[str] = []
    world = World(database, build(database, receive), Receiver(), tenant)
    dead = [world.vendor(f"dead-{number}") for number in range(3)]
    for reader in dead:
        for _ in range(20):
            await add(world, reader, "http://127.0.0.1:9/dead")
    async with database.transaction() as connection:
        # One client's have failed before; the others' are new.
        await connection.execute(
            sa.update(TABLES.endpoints)
            .where(TABLES.endpoints.c.tenant == tenant, TABLES.endpoints.c.client_id == dead[0].client_id)
            .values(failing_since=sa.func.now())
        )
    await add(world, world.vendor("quick"), "http://127.0.0.1:9/quick")
    await world.happen(*(held(str(reader.owner), f"t-{n}") for reader in dead for n in range(5)))
    await world.happen(*(held("quick", f"t-{n}") for n in range(30)))
    await world.events.feed.number_recorded()
    while await world.events.deliveries.spread():
        pass
    async with asyncio.timeout(20):
        while len(quick) < 30:
            await world.events.dispatcher.send_due()
            await asyncio.sleep(0)
    stuck.set()
    await world.events.close()


async def test_an_endpoint_whose_secrets_cannot_be_opened_keeps_what_waits_and_is_not_blamed(
    world: World, database: Database
) -> None:
    vendor = world.vendor("a")
    endpoint_id = await add(world, vendor)
    await world.happen(held("a"))
    receiver = Receiver()
    stranger = World(
        database, build(database, receiver, sealer=Sealer({1: secrets.token_bytes(32)})), receiver, world.tenant
    )
    await stranger.settle()
    (delivery,) = await deliveries(world, endpoint_id)
    assert (delivery.state, delivery.error) == ("waiting", "internal")
    assert delivery.attempts
    assert (await world.events.endpoints.get(vendor, endpoint_id)).failing_since is None
    assert receiver.requests == []
    await world.make_due()
    await world.settle()
    assert len(world.receiver.requests) == 1
    await stranger.events.close()


async def test_what_waits_for_a_disabled_endpoint_goes_with_its_event(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id = await add(world, vendor)
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("a", "t-1"))
    await world.settle()
    async with world.database.transaction() as connection:
        query = sa.update(TABLES.deliveries).where(TABLES.deliveries.c.endpoint_id == endpoint_id)
        await connection.execute(query.values(attempted_at=sa.func.now() - timedelta(days=31)))
    await world.events.deliveries.forget_old()
    assert len(await deliveries(world, endpoint_id)) == 1
    await world.events.endpoints.change(vendor, endpoint_id, Change(enabled=False))
    await world.events.deliveries.forget_old()
    assert await deliveries(world, endpoint_id) == []
