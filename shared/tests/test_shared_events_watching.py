"""Figures of endpoints: those that fail are named, and no longer when they work again."""

import json

import httpx
import pytest
from prometheus_client import REGISTRY

from .events_world import World, held

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def figure(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"topic": "points", **labels})


async def test_an_endpoint_that_fails_is_named_with_what_waits_until_it_works_again(world: World) -> None:
    answer = await world.events.endpoints.add(
        world.vendor("a"), None, url="http://127.0.0.1:9/hook", types=(), description=""
    )
    one = {"tenant": world.tenant, "endpoint": json.loads(answer.body)["endpoint_id"]}
    await world.events.watch.look()
    works, fails = (figure("events_endpoints", state=state) or 0 for state in ("works", "fails"))
    assert figure("events_endpoint_failing_seconds", **one) is None
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("a", "t-1"), held("a", "t-2"))
    await world.settle()
    await world.events.watch.look()
    assert (figure("events_endpoint_failing_seconds", **one) or 0) > 0
    assert figure("events_endpoint_waiting", **one) == 2
    assert figure("events_endpoints", state="works") == works - 1
    assert figure("events_endpoints", state="fails") == fails + 1
    world.receiver.answer = lambda _: httpx.Response(204)
    await world.make_due()
    await world.settle()
    await world.events.watch.look()
    assert figure("events_endpoint_failing_seconds", **one) is None
    assert figure("events_endpoint_waiting", **one) is None


async def test_the_age_of_the_oldest_shows_what_waits_for_its_place_and_what_is_due(world: World) -> None:
    await world.happen(held("a"))
    await world.events.feed.number_recorded()
    assert (figure("events_outbox_lag_seconds") or 0) > 0
    await world.settle()
    await world.events.feed.number_recorded()
    await world.events.dispatcher.send_due()
    assert figure("events_outbox_lag_seconds") == 0
    assert figure("events_delivery_lag_seconds") is not None


async def test_attempts_are_counted_by_outcome(world: World) -> None:
    before = {name: figure("events_attempts_total", outcome=name) or 0 for name in ("delivered", "failed")}
    await world.events.endpoints.add(world.vendor("a"), None, url="http://127.0.0.1:9/hook", types=(), description="")
    await world.happen(held("a"))
    await world.settle()
    world.receiver.answer = lambda _: httpx.Response(500)
    await world.happen(held("a"))
    await world.settle()
    after = {name: figure("events_attempts_total", outcome=name) or 0 for name in before}
    assert after["delivered"] >= before["delivered"] + 1
    assert after["failed"] >= before["failed"] + 1
