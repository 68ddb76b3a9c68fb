"""Deliveries: at least once, signed, tried again, and no receiver delays another."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from shared.db import Database
from shared.events.domain import (
    PAUSES,
    Delivery,
    EndpointDisabled,
    EndpointNotFound,
    EventNotFound,
    Reader,
    pause_after,
)
from shared.events.endpoints import Change
from shared.idempotency import Answer, RequestKey
from standardwebhooks import Webhook

from .events_world import TABLES, URL, Receiver, World, build, held

pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def add(world: World, reader: Reader, *, url: str = URL, types: tuple[str, ...] = ()) -> tuple[str, str]:
    answer = await world.events.endpoints.add(reader, None, url=url, types=types, description="")
    body = json.loads(answer.body)
    return body["endpoint_id"], body["secret"]


async def only_delivery(world: World, reader: Reader, endpoint_id: str) -> Delivery:
    page = await world.events.deliveries.page(reader, endpoint_id, state=None, cursor=None, limit=10)
    assert len(page.items) == 1
    return page.items[0]


async def test_an_event_is_delivered_once_and_signed_as_standard_webhooks_asks(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id, secret = await add(world, vendor)
    await world.happen(held("a"), held("b"))
    await world.settle()
    await world.settle()
    assert len(world.receiver.requests) == 1
    request = world.receiver.requests[0]
    event = Webhook(secret).verify(request.content, dict(request.headers))
    assert (event["type"], event["data"]["transactionid"]) == ("points.held", "t-1")
    assert event["id"] == request.headers["webhook-id"]
    assert (await only_delivery(world, vendor, endpoint_id)).state == "delivered"


async def test_what_a_receiver_does_not_take_is_sent_again_until_it_does(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("a"))
    await world.settle()
    waiting = await only_delivery(world, vendor, endpoint_id)
    assert (waiting.state, waiting.attempts, waiting.status) == ("waiting", 1, 500)
    world.receiver.answer = lambda _: httpx.Response(200)
    await world.make_due()
    await world.settle()
    assert (await only_delivery(world, vendor, endpoint_id)).state == "delivered"
    assert len(set(world.receiver.event_ids)) == 1


async def test_after_the_last_pause_a_delivery_is_given_up_and_stays_to_be_seen(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    world.receiver.answer = lambda _: httpx.Response(503)
    await world.happen(held("a"))
    for _ in range(len(PAUSES) + 1):
        await world.settle()
        await world.make_due()
    given_up = await only_delivery(world, vendor, endpoint_id)
    assert (given_up.state, given_up.attempts, given_up.next_attempt_at) == ("failed", len(PAUSES) + 1, None)
    assert len(world.receiver.requests) == len(PAUSES) + 1


def test_the_pauses_are_those_of_the_contract_and_a_little_longer() -> None:
    seconds = [pause_after(attempts, 0.0) for attempts in range(1, 11)]
    hours = [2, 6, 12, 24, 24]
    assert seconds == [timedelta(seconds=s) for s in (5, 60, 300, 1800, *(hour * 3600 for hour in hours))] + [None]
    assert pause_after(1, 1.0) == timedelta(seconds=5.5)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(world: World, status: int) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    world.receiver.answer = lambda _: httpx.Response(status, headers={"Location": "http://169.254.169.254/"})
    await world.happen(held("a"))
    await world.settle()
    assert {str(request.url) for request in world.receiver.requests} == {URL}
    assert (await only_delivery(world, vendor, endpoint_id)).state == "waiting"


async def test_a_receiver_that_says_gone_is_sent_no_more_and_its_client_s_other_endpoints_hear_of_it(
    world: World,
) -> None:
    vendor = world.vendor("a")
    gone, _ = await add(world, vendor, url="http://127.0.0.1:9/gone")
    await add(world, vendor, url="http://127.0.0.1:9/there", types=("endpoint.disabled",))
    world.receiver.answer = lambda request: httpx.Response(410 if request.url.path == "/gone" else 200)
    await world.happen(held("a"))
    await world.settle()
    await world.settle()
    endpoint = await world.events.endpoints.get(vendor, gone)
    assert (endpoint.enabled, endpoint.disabled_because) == (False, "receiver_gone")
    told = json.loads(world.receiver.requests[-1].content)
    assert (told["type"], told["data"]["endpoint_id"]) == ("endpoint.disabled", gone)
    await world.happen(held("a", "t-2"))
    await world.make_due()
    await world.settle()
    assert [request.url.path for request in world.receiver.requests].count("/gone") == 1
    with pytest.raises(EndpointDisabled):
        await world.events.deliveries.replay(vendor, gone, since=None)


async def test_five_days_of_nothing_but_failure_disable_an_endpoint(world: World, database: Database) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    await add(world, vendor, url="http://127.0.0.1:9/there", types=("endpoint.disabled",))
    world.receiver.answer = lambda request: httpx.Response(204 if request.url.path == "/there" else 500)
    await world.happen(held("a"))
    await world.settle()
    async with database.transaction() as connection:
        await connection.execute(
            sa.update(TABLES.endpoints)
            .where(TABLES.endpoints.c.endpoint_id == endpoint_id)
            .values(failing_since=sa.func.now() - timedelta(days=5))
        )
    await world.make_due()
    await world.settle()
    assert (await world.events.endpoints.get(vendor, endpoint_id)).disabled_because == "failing_for_five_days"
    await world.settle()
    listed = await world.events.feed.read(world.platform, after=None, types=("endpoint.disabled",), limit=10)
    (told,) = [json.loads(one.content) for one in world.receiver.requests if one.url.path == "/there"]
    assert [event.event_id for event in listed.events] == [told["id"]]
    assert told["data"]["disabled_because"] == "failing_for_five_days"
    enabled = await world.events.endpoints.change(vendor, endpoint_id, Change(enabled=True))
    assert (enabled.enabled, enabled.failing_since) == (True, None)


async def test_one_success_ends_the_count_of_failing_days(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("a"))
    await world.settle()
    assert (await world.events.endpoints.get(vendor, endpoint_id)).failing_since is not None
    world.receiver.answer = lambda _: httpx.Response(200)
    await world.make_due()
    await world.settle()
    assert (await world.events.endpoints.get(vendor, endpoint_id)).failing_since is None


async def test_a_receiver_that_never_answers_delays_no_other(database: Database, tenant: str) -> None:
    stuck = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/slow":
            await stuck.wait()
        quick.append(request.url.path)
        return httpx.Response(200)

    quick: list[str] = []
    world = World(database, build(database, answer), Receiver(), tenant)
    vendor = world.vendor("a")
    await add(world, vendor, url="http://127.0.0.1:9/slow")
    await add(world, vendor, url="http://127.0.0.1:9/quick")
    await world.happen(*(held("a", f"t-{n}") for n in range(30)))
    await world.events.feed.number_recorded()
    await world.events.deliveries.spread()
    async with asyncio.timeout(20):
        while len(quick) < 30:
            await world.events.dispatcher.send_due()
            await asyncio.sleep(0)
    assert set(quick) == {"/quick"}
    stuck.set()
    await world.events.close()


async def test_two_processes_share_the_work_without_sending_twice(world: World, database: Database) -> None:
    other = build(database, world.receiver, sealer=world.events.endpoints._sealer)
    await add(world, world.vendor("a"))
    await world.happen(*(held("a", f"t-{n}") for n in range(60)))
    await world.events.feed.number_recorded()
    await asyncio.gather(world.events.deliveries.spread(), other.deliveries.spread())
    async with asyncio.timeout(20):
        while len(set(world.receiver.event_ids)) < 60:
            await asyncio.gather(world.events.dispatcher.send_due(), other.dispatcher.send_due())
            await asyncio.sleep(0)
    await asyncio.gather(world.events.dispatcher.wait(), other.dispatcher.wait())
    assert len(world.receiver.event_ids) == 60
    await other.close()


async def test_a_process_that_dies_while_it_sends_loses_nothing(database: Database, tenant: str) -> None:
    began = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    dying = World(database, build(database, hang), Receiver(), tenant)
    vendor = dying.vendor("a")
    await add(dying, vendor)
    await dying.happen(held("a"))
    await dying.events.feed.number_recorded()
    await dying.events.deliveries.spread()
    await dying.events.dispatcher.send_due()
    await began.wait()
    dying.events.dispatcher.abandon()
    receiver = Receiver()
    heir = World(database, build(database, receiver, sealer=dying.events.endpoints._sealer), receiver, tenant)
    await heir.settle()
    assert receiver.requests == []
    await heir.make_due()
    await heir.settle()
    assert len(receiver.requests) == 1
    await heir.events.close()


async def test_an_answer_that_never_ends_is_read_to_a_kilobyte(database: Database, tenant: str) -> None:
    class Endless(httpx.AsyncByteStream):
        read = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                Endless.read += 512
                yield b"x" * 512

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    world = World(database, build(database, answer), Receiver(), tenant)
    endpoint_id, _ = await add(world, world.vendor("a"))
    await world.happen(held("a"))
    await world.settle()
    assert (await only_delivery(world, world.vendor("a"), endpoint_id)).state == "delivered"
    assert Endless.read <= 2048
    await world.events.close()


async def test_during_the_overlap_both_secrets_sign_and_afterwards_the_new_one_alone(
    world: World, database: Database
) -> None:
    vendor = world.vendor("a")
    endpoint_id, former = await add(world, vendor)
    answer = await world.events.endpoints.rotate_secret(vendor, endpoint_id, None, overlap=timedelta(hours=1))
    new = json.loads(answer.body)["secret"]
    await world.happen(held("a"))
    await world.settle()
    request = world.receiver.requests[-1]
    for secret in (former, new):
        Webhook(secret).verify(request.content, dict(request.headers))
    await world.events.endpoints.rotate_secret(vendor, endpoint_id, None, overlap=timedelta(0))
    await world.happen(held("a", "t-2"))
    await world.settle()
    assert len(world.receiver.requests[-1].headers["webhook-signature"].split(" ")) == 1


async def test_one_event_or_all_since_an_instant_are_sent_again(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    await world.happen(held("a", "t-1"), held("a", "t-2"), held("b", "t-3"))
    await world.settle()
    first, second = world.receiver.event_ids
    assert await world.events.deliveries.replay(vendor, endpoint_id, event_id=first) == 1
    await world.settle()
    assert world.receiver.event_ids == [first, second, first]
    event = (await world.events.feed.read(vendor, after=None, types=(), limit=1)).events[0]
    assert await world.events.deliveries.replay(vendor, endpoint_id, since=event.happened_at) == 2
    await world.settle()
    assert sorted(world.receiver.event_ids[3:]) == sorted([first, second])
    foreign = (await world.events.feed.read(world.vendor("b"), after=None, types=(), limit=1)).events[0]
    with pytest.raises(EventNotFound):
        await world.events.deliveries.replay(vendor, endpoint_id, event_id=foreign.event_id)


async def test_a_replay_that_is_asked_for_twice_with_one_key_is_sent_once(world: World) -> None:
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    await world.happen(held("a", "t-1"))
    await world.settle()
    (event_id,) = world.receiver.event_ids
    key = RequestKey.of("once-more", "POST", f"/{endpoint_id}/replay", b"", b"{}")
    answers = []
    for _ in range(2):
        answers.append(
            await world.events.deliveries.replay_once(
                vendor,
                endpoint_id,
                event_id=event_id,
                since=None,
                key=key,
                shape=lambda waiting: Answer.of(202, {"waiting": waiting}),
            )
        )
        await world.settle()
    assert [(answer.status, answer.body, answer.replayed) for answer in answers] == [
        (202, b'{"waiting":1}', False),
        (202, b'{"waiting":1}', True),
    ]
    assert world.receiver.event_ids == [event_id, event_id]


async def test_an_endpoint_belongs_to_the_client_that_made_it(world: World) -> None:
    endpoint_id, _ = await add(world, world.vendor("a"))
    for stranger in (world.platform, world.vendor("b"), Reader("another", "client-of-a", "a")):
        with pytest.raises(EndpointNotFound):
            await world.events.endpoints.get(stranger, endpoint_id)
        with pytest.raises(EndpointNotFound):
            await world.events.deliveries.replay(stranger, endpoint_id, since=None)
        with pytest.raises(EndpointNotFound):
            await world.events.endpoints.remove(stranger, endpoint_id)
    await world.events.endpoints.remove(world.vendor("a"), endpoint_id)
    await world.happen(held("a"))
    await world.settle()
    assert world.receiver.requests == []


async def test_an_endpoint_that_is_disabled_while_an_event_is_under_way_stays_disabled(
    database: Database, tenant: str
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_: httpx.Request) -> httpx.Response:
        begun.set()
        await go_on.wait()
        return httpx.Response(200)

    world = World(database, build(database, answer), Receiver(), tenant)
    vendor = world.vendor("a")
    endpoint_id, _ = await add(world, vendor)
    await world.happen(held("a"))
    await world.events.feed.number_recorded()
    await world.events.deliveries.spread()
    await world.events.dispatcher.send_due()
    await begun.wait()
    await world.events.endpoints.change(vendor, endpoint_id, Change(enabled=False))
    go_on.set()
    await world.events.dispatcher.wait()
    assert (await world.events.endpoints.get(vendor, endpoint_id)).disabled_because == "disabled_by_client"
    assert (await only_delivery(world, vendor, endpoint_id)).state == "delivered"
    await world.events.close()
