"""Receivers that fail in every way, on the real network: each attempt ends in time, and none delays a good receiver."""

import asyncio
import json
import secrets
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from platform_testing import receivers
from platform_testing.receivers import Behaviour, receiving
from shared.db import Database
from shared.events.destinations import Destinations
from shared.events.domain import Event, Outcome
from shared.events.sending import Sender
from standardwebhooks import Webhook

from .events_world import TOPIC, World, build, held

pytestmark = pytest.mark.usefixtures("leaves_nothing")

EVENT = Event(1, "evt_1", "points.held", None, datetime(2026, 11, 21, tzinfo=UTC), {"transactionid": "t-1"})
SECRET = "whsec_" + "c2VjcmV0" * 5
METADATA = receivers.answers(302, "Location: http://169.254.169.254/latest/meta-data/")
#: How a receiver behaves → status and error of the attempt.
BAD: dict[str, tuple[Behaviour, int | None, str | None]] = {
    "500": (receivers.answers(500), 500, None),
    "404": (receivers.answers(404), 404, None),
    "redirects to a private address": (METADATA, 302, None),
    "is silent": (receivers.is_silent, None, "timeout"),
    "drips": (receivers.drips, None, "timeout"),
    "hints for ever": (receivers.hints_for_ever, None, "timeout"),
    "has headers without end": (receivers.has_headers_without_end, None, "RemoteProtocolError"),
    "speaks no HTTP": (receivers.speaks_no_http, None, "RemoteProtocolError"),
    "hangs up": (receivers.hangs_up, None, "RemoteProtocolError"),
    "resets": (receivers.resets, None, "ReadError"),
}
GOOD: dict[str, Behaviour] = {
    "takes": receivers.takes,
    "answers for ever": receivers.answers_for_ever,
    "answers slowly for ever": receivers.answers_slowly_for_ever,
    "says that its body is packed": receivers.answers(200, "Content-Encoding: gzip"),
}


async def attempt(url: str, seconds: float = 10.0) -> Outcome:
    sender = Sender(Destinations(development=True), TOPIC, attempt_seconds=seconds)
    async with asyncio.timeout(30):
        return await sender.send(url, [SECRET], EVENT)


@pytest.mark.parametrize("how", BAD)
async def test_an_attempt_ends_whatever_the_receiver_does(how: str) -> None:
    behave, status, error = BAD[how]
    async with receiving(behave) as receiver:
        outcome = await attempt(receiver.url, 0.5 if error == "timeout" else 10.0)
    assert (outcome.status, outcome.error, outcome.is_delivered) == (status, error, False)
    assert len(receiver.deliveries) == 1


@pytest.mark.parametrize("how", GOOD)
async def test_an_answer_counts_however_its_body_ends(how: str) -> None:
    async with receiving(GOOD[how]) as receiver:
        outcome = await attempt(receiver.url, 3.0)
    assert (outcome.is_delivered, outcome.error) == (True, None)
    (delivery,) = receiver.deliveries
    assert Webhook(SECRET).verify(delivery.body, delivery.headers)["data"] == {"transactionid": "t-1"}


async def test_a_connection_that_was_closed_while_it_lay_idle_is_no_failure_of_the_receiver() -> None:
    sender = Sender(Destinations(development=True), TOPIC)
    async with receiving(of_one_connection=2) as receiver, sender.conversation(receiver.url, [SECRET]) as conversation:
        outcomes = [await conversation.send(EVENT) for _ in range(5)]
    assert all(outcome.is_delivered for outcome in outcomes)
    assert (len(receiver.deliveries), receiver.connections) == (5, 3)


async def test_a_receiver_that_hangs_up_on_a_new_connection_is_asked_once() -> None:
    sender = Sender(Destinations(development=True), TOPIC)
    async with receiving() as receiver, sender.conversation(receiver.url, [SECRET]) as conversation:
        assert (await conversation.send(EVENT)).is_delivered
        receiver.behave = receivers.hangs_up
        assert (await conversation.send(EVENT)).error == "RemoteProtocolError"
    assert len(receiver.deliveries) == 2


async def test_nobody_there_is_a_failure_too() -> None:
    async with receiving() as receiver:
        url = receiver.url
    assert (await attempt(url)).error == "ConnectError"
    async with receiving(receivers.speaks_no_http) as receiver:
        assert (await attempt(receiver.url.replace("http:", "https:"), 0.5)).error == "ConnectTimeout"


async def test_a_good_receiver_hears_everything_while_others_fail_and_these_hear_all_once_they_are_mended(
    database: Database, tenant: str
) -> None:
    transactions = {f"t-{number}" for number in range(12)}
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(receiving())
        bad = {how: await stack.enter_async_context(receiving(BAD[how][0])) for how in BAD}
        world = World(database, build(database, None, attempt_seconds=0.5), good, tenant)  # type: ignore[arg-type]  # of another kind
        endpoints = {}
        for how, receiver in {"good": good, **bad}.items():
            answer = await world.events.endpoints.add(
                world.vendor("a"), None, url=receiver.url, types=(), description=how
            )
            endpoints[how] = json.loads(answer.body)["endpoint_id"]
        await world.happen(*(held("a", transaction) for transaction in transactions))
        await world.settle()
        assert {delivery.event["data"]["transactionid"] for delivery in good.deliveries} == transactions
        assert len(good.deliveries) == len(transactions)
        for how in BAD:
            page = await world.events.deliveries.page(
                world.vendor("a"), endpoints[how], state="waiting", cursor=None, limit=100
            )
            assert len(page.items) == len(transactions), how
            assert all(one.attempts for one in page.items), how
        for receiver in bad.values():
            receiver.behave = receivers.takes
            receiver.deliveries.clear()
        await world.events.close()
        # With the time that an attempt has: a good receiver may need a while.
        world.events = build(database, None, sealer=world.events.endpoints._sealer)
        await world.make_due()
        await world.settle()
        for how, receiver in bad.items():
            assert {delivery.event["data"]["transactionid"] for delivery in receiver.deliveries} == transactions, how
        await world.events.close()


async def test_what_no_secret_of_the_endpoint_signed_is_refused_by_the_library() -> None:
    async with receiving() as receiver:
        await attempt(receiver.url)
    (delivery,) = receiver.deliveries
    with pytest.raises(Exception, match="No matching signature found"):
        Webhook("whsec_" + secrets.token_hex(16)).verify(delivery.body, delivery.headers)
