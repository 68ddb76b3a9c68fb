"""Events: what the platform says by itself is verified, written down, answered fast and acted upon once."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from rewards_shop.events import KEPT_SECONDS
from rewards_shop.rehearsal.platform import RehearsalPlatform, Transaction
from rewards_shop.rehearsal.wire import Wire, unreachable
from rewards_shop.settings import ShopSettings

Buy = Callable[..., Coroutine[Any, Any, httpx.Response]]
OpenShop = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
Forward = Callable[[], Awaitable[httpx.Response]]
HOOK = "/webhooks/points"
SILENT = ("confirm", "rollback", "look_up")


async def deliver(browser: httpx.AsyncClient, event: tuple[dict[str, str], bytes]) -> int:
    headers, body = event
    return (await browser.post(HOOK, content=body, headers=headers)).status_code


async def hold_without_end(browser: httpx.AsyncClient, buy: Buy, wire: Wire, reward: str = "coffee") -> str:
    """An order whose points are held, and whose end the shop cannot learn by asking."""
    wire.always.update(dict.fromkeys(SILENT, unreachable))
    order_id: str = (await buy(browser, reward)).json()["order_id"]
    return order_id


async def order_of(browser: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    order: dict[str, Any] = (await browser.get(f"/orders/{order_id}")).json()
    return order


async def test_an_order_whose_hold_ran_out_is_released_by_the_event_alone(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform
) -> None:
    order_id = await hold_without_end(browser, buy, wire)
    assert (await order_of(browser, order_id))["outcome"] == "pending"
    stage.expire(order_id)
    headers, body = stage.event(order_id)
    assert await deliver(browser, (headers, body)) == 204
    order = await order_of(browser, order_id)
    assert (order["outcome"], order["finished"], order["balance"]) == ("expired", True, 1250)
    last = order["steps"][-1]
    assert (last["step"], last["call"], last["answer"]) == ("event", "webhook points.expired", headers["webhook-id"])


async def test_an_order_that_is_sold_out_stays_so_when_the_event_of_its_rollback_comes(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform
) -> None:
    order_id = (await buy(browser, "lamp")).json()["order_id"]
    assert await deliver(browser, stage.event(order_id)) == 204
    order = await order_of(browser, order_id)
    assert (order["outcome"], order["balance"]) == ("out_of_stock", 1250)
    page = (await browser.get(f"/orders/{order_id}", headers={"Accept": "text/html"})).text
    assert 'data-step="event" data-result="ok"' in page
    assert "The platform told us that these points are free again" in page


async def test_a_double_is_answered_alike_and_changes_nothing(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform
) -> None:
    order_id = (await buy(browser, "lamp")).json()["order_id"]
    event = stage.event(order_id)
    assert await deliver(browser, event) == 204
    first = await order_of(browser, order_id)
    assert await asyncio.gather(*(deliver(browser, event) for _ in range(5))) == [204] * 5
    assert await order_of(browser, order_id) == first


async def test_an_event_that_was_taken_before_a_crash_is_acted_upon_after_it(
    open_shop: OpenShop, buy: Buy, wire: Wire, stage: RehearsalPlatform, rounds: Any
) -> None:
    order_id, hanging = str(uuid4()), asyncio.Event()

    async def never_answered(request: httpx.Request, forward: Forward) -> httpx.Response:
        hanging.set()
        return await asyncio.Future[httpx.Response]()

    wire.always.update({"confirm": never_answered, "look_up": unreachable})
    async with open_shop() as browser:
        click = asyncio.create_task(buy(browser, "coffee", order_id=order_id))
        await hanging.wait()
        # The order is being driven, so the event has to wait for it, and the shop ends meanwhile.
        stage.expire(order_id)
        event = asyncio.create_task(deliver(browser, stage.event(order_id)))
        await written_down(browser)
    await asyncio.gather(click, event, return_exceptions=True)
    rounds.idle.clear()
    async with open_shop() as browser:
        await rounds.idle.wait()
        order = await order_of(browser, order_id)
    assert (order["outcome"], order["balance"]) == ("expired", 1250)
    assert order["steps"][-1]["step"] == "event"


async def written_down(browser: httpx.AsyncClient) -> None:
    transport = browser._transport
    assert isinstance(transport, httpx.ASGITransport)
    store = transport.app.state.shop.store  # type: ignore[attr-defined]  # it is a FastAPI
    async with asyncio.timeout(10):
        while not await store.waiting_events():  # noqa: ASYNC110 - the shop says it to nobody but its file
            await asyncio.sleep(0)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", "x", "v1,AAAA", "v1,???", "nan", "1000000000"])
async def test_what_the_platform_did_not_sign_is_refused_and_changes_nothing(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform, name: str, value: str | None
) -> None:
    order_id = await hold_without_end(browser, buy, wire)
    stage.expire(order_id)
    headers, body = stage.event(order_id)
    forged = {key: each for key, each in headers.items() if key != name} | ({} if value is None else {name: value})
    answer = await browser.post(HOOK, content=body, headers=forged)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_signature")
    assert (await browser.post(HOOK, content=body + b" ", headers=headers)).status_code == 400
    assert (await browser.post(HOOK, content=b"\xff", headers=headers)).status_code == 400
    assert (await order_of(browser, order_id))["outcome"] == "pending"


@pytest.mark.parametrize(
    "other",
    [{"type": "points.of_next_year"}, {"data": None}, {"data": {"transactionid": 7}}, {"type": "endpoint.test"}],
)
async def test_what_it_does_not_know_is_taken_and_ignored(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform, other: dict[str, Any]
) -> None:
    order_id = (await buy(browser, "lamp")).json()["order_id"]
    before = await order_of(browser, order_id)
    assert await deliver(browser, stage.event(order_id, **other)) == 204
    assert await order_of(browser, order_id) == before


async def test_an_event_of_a_transaction_that_is_not_the_shop_s_is_settled(
    browser: httpx.AsyncClient, stage: RehearsalPlatform, settings: ShopSettings
) -> None:
    stage.transactions["another"] = Transaction("ada", 10, "rolled_back")
    assert await deliver(browser, stage.event("another")) == 204
    with sqlite3.connect(settings.state_path) as file:
        assert file.execute("select settled from events").fetchall() == [(1,)]


async def test_points_that_were_spent_are_not_given_back_by_an_event_that_contradicts(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    stage.transactions[order_id].state = "expired"
    assert await deliver(browser, stage.event(order_id)) == 204
    assert (await order_of(browser, order_id))["outcome"] == "fulfilled"
    assert "says otherwise" in caplog.text


async def test_ids_are_kept_longer_than_the_platform_sends_again_and_no_longer(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform, clock: Any, settings: ShopSettings
) -> None:
    order_id = (await buy(browser, "lamp")).json()["order_id"]
    for late in (0, KEPT_SECONDS - 1, 2):
        clock.now += late
        await deliver(browser, stage.event(order_id))
    with sqlite3.connect(settings.state_path) as file:
        assert file.execute("select count(*) from events").fetchone() == (2,)


async def test_a_shop_without_a_secret_takes_none(
    open_shop: OpenShop, buy: Buy, stage: RehearsalPlatform, settings: ShopSettings
) -> None:
    settings.webhook_secret = None
    async with open_shop() as browser:
        order_id = (await buy(browser, "lamp")).json()["order_id"]
        assert await deliver(browser, stage.event(order_id)) == 404


async def test_a_body_without_end_is_refused(browser: httpx.AsyncClient) -> None:
    assert (await browser.post(HOOK, content=json.dumps("x" * 20_000))).status_code == 413


@pytest.mark.parametrize("secret", ["whsec_", "whsec_?", ""])
def test_a_secret_that_is_none_is_refused_at_the_start(settings: ShopSettings, secret: str) -> None:
    given = settings.model_dump() | {"webhook_secret": secret}
    with pytest.raises(ValueError, match="as the platform showed it"):
        ShopSettings(**given)
