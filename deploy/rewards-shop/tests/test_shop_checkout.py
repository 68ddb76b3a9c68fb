"""Buying: hold, look into the warehouse, then take the points or give them back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from rewards_shop.rehearsal.platform import RehearsalPlatform
from rewards_shop.rehearsal.wire import Wire, answer_lost, answers, unreachable
from rewards_shop.settings import ShopSettings

Buy = Callable[..., Coroutine[Any, Any, httpx.Response]]
OpenShop = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def story(order: httpx.Response) -> list[str]:
    return [f"{step['step']} {step['result']}" for step in order.json()["steps"]]


async def test_a_purchase_holds_then_takes_the_points(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform, wire: Wire
) -> None:
    order = await buy(browser, "coffee")
    assert (order.status_code, order.json()["outcome"], order.json()["balance"]) == (201, "fulfilled", 1000)
    assert story(order) == ["placed ok", "hold ok", "stock ok", "confirm ok"]
    assert wire.calls[-3:] == ["commit", "confirm", "balance"]
    (transaction,) = stage.transactions.values()
    assert (transaction.points, transaction.state) == (250, "confirmed")


async def test_the_calls_have_the_documents_spelling_and_keys(browser: httpx.AsyncClient, buy: Buy, wire: Wire) -> None:
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    commit = next(request for request in wire.requests if request.url.query == b"commit")
    assert httpx.Response(200, content=commit.content).json() == {
        "userid": "ada",
        "transactionid": order_id,
        "pointstodeduct": 250,
        "description": "Redemption for Coffee for two",
    }
    assert commit.headers["Idempotency-Key"] == f'"{order_id}-commit"'
    assert commit.headers["Authorization"].startswith("Basic ")


async def test_sold_out_is_found_after_the_hold_and_gives_the_points_back(
    browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform
) -> None:
    order = await buy(browser, "lamp")
    assert (order.json()["outcome"], order.json()["balance"]) == ("out_of_stock", 1250)
    assert story(order) == ["placed ok", "hold ok", "stock out_of_stock", "rollback ok"]
    assert [transaction.state for transaction in stage.transactions.values()] == ["rolled_back"]


async def test_too_few_points_are_told_kindly_and_never_asked_twice(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire
) -> None:
    order = await buy(browser, "alps")
    assert (order.json()["outcome"], order.json()["reason"]) == ("refused", "insufficient_points")
    assert order.json()["balance"] == 1250
    assert "Nothing was deducted" in order.json()["message"]
    assert wire.calls.count("commit") == 1


async def test_an_unknown_user_is_refused(browser: httpx.AsyncClient, buy: Buy, wire: Wire) -> None:
    wire.faults["commit"] = [answers(404, '{"status": "failed", "code": "invalid_user"}')]
    assert (await buy(browser, "coffee")).json()["outcome"] == "refused"


@pytest.mark.parametrize("call", ["commit", "confirm"])
@pytest.mark.parametrize("fault", [unreachable, answer_lost, answers(503), answers(429, Retry_After="1")])
async def test_a_bad_network_is_survived_by_retries(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform, call: str, fault: Any
) -> None:
    wire.faults[call] = [fault, fault, fault]
    order = await buy(browser, "coffee")
    assert (order.json()["outcome"], stage.balances["ada"]) == ("fulfilled", 1000)
    assert 4 in [step["attempts"] for step in order.json()["steps"]]


@pytest.mark.parametrize(
    ("reward", "call", "left"), [("coffee", "commit", 1000), ("coffee", "confirm", 1000), ("lamp", "rollback", 1250)]
)
async def test_when_every_answer_is_lost_the_transaction_is_looked_up(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform, reward: str, call: str, left: int
) -> None:
    wire.always[call] = answer_lost
    order = await buy(browser, reward)
    assert order.json()["finished"]
    assert order.json()["outcome"] == ("fulfilled" if reward == "coffee" else "out_of_stock")
    assert stage.balances["ada"] == left
    assert "ask ok" in story(order)


async def test_a_hold_that_never_arrived_is_cancelled_so_that_it_cannot_arrive_late(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform
) -> None:
    wire.always["commit"] = unreachable
    order = await buy(browser, "coffee")
    assert (order.json()["outcome"], order.json()["reason"]) == ("cancelled", "unanswered")
    assert story(order) == ["placed ok", "hold no_answer", "ask refused", "rollback refused"]
    assert stage.cancelled == {order.json()["order_id"]}
    late, _ = stage.operate(
        "commit", {"transactionid": order.json()["order_id"], "userid": "ada", "pointstodeduct": 250}
    )
    assert (late, stage.balances["ada"]) == (409, 1250)


async def test_an_expired_hold_is_told_as_such(open_shop: OpenShop, buy: Buy, stage: RehearsalPlatform) -> None:
    def slow_warehouse(reward_id: str) -> bool:
        for transaction_id in stage.transactions:
            stage.expire(transaction_id)
        return True

    async with open_shop(warehouse=slow_warehouse) as browser:
        order = await buy(browser, "coffee")
        assert (order.json()["outcome"], order.json()["balance"]) == ("expired", 1250)


async def test_a_double_click_buys_once(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform
) -> None:
    order_id = str(uuid4())
    orders = await asyncio.gather(*(buy(browser, "coffee", order_id=order_id) for _ in range(8)))
    assert {order.json()["outcome"] for order in orders} == {"fulfilled"}
    assert (wire.calls.count("commit"), stage.balances["ada"]) == (1, 1000)
    later = await buy(browser, "coffee", order_id=order_id)
    assert (later.status_code, stage.balances["ada"]) == (200, 1000)


async def test_an_order_id_cannot_be_used_for_something_else(browser: httpx.AsyncClient, buy: Buy, wire: Wire) -> None:
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    other = await buy(browser, "book", order_id=order_id)
    assert (other.status_code, other.json()["code"]) == (409, "order_id_reused")
    assert wire.calls.count("commit") == 1


async def test_nobody_waits_longer_than_their_patience(
    open_shop: OpenShop, buy: Buy, wire: Wire, settings: ShopSettings
) -> None:
    settings.patience_seconds = 0
    let_go = asyncio.Event()

    async def hang(request: httpx.Request, forward: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        await let_go.wait()
        return await forward()

    wire.faults["confirm"] = [hang]
    async with open_shop() as browser:
        order = await buy(browser, "coffee")
        assert (order.json()["outcome"], order.json()["finished"]) == ("pending", False)
        let_go.set()
        settings.patience_seconds = 5
        again = await buy(browser, "coffee", order_id=order.json()["order_id"])
        assert again.json()["outcome"] == "fulfilled"


async def test_the_order_goes_on_when_the_browser_hangs_up(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform
) -> None:
    arrived, let_go = asyncio.Event(), asyncio.Event()

    async def hang(request: httpx.Request, forward: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        arrived.set()
        await let_go.wait()
        return await forward()

    wire.faults["commit"] = [hang]
    order_id = str(uuid4())
    click = asyncio.create_task(buy(browser, "coffee", order_id=order_id))
    await arrived.wait()
    click.cancel()
    await asyncio.gather(click, return_exceptions=True)
    let_go.set()
    assert (await buy(browser, "coffee", order_id=order_id)).json()["outcome"] == "fulfilled"
    assert stage.balances["ada"] == 1000


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"csrf_token": ""}, 403, "bad_csrf_token"),
        ({"csrf_token": "é" * 64}, 403, "bad_csrf_token"),
        ({"order_id": "1"}, 400, "malformed_order_id"),
        ({"order_id": "../../v1/accounts/ada"}, 400, "malformed_order_id"),
        ({"reward_id": "moon"}, 404, "reward_not_found"),
    ],
)
async def test_a_form_the_shop_did_not_make_orders_nothing(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, fields: dict[str, str], status: int, code: str
) -> None:
    reward_id = fields.pop("reward_id", "coffee")
    response = await buy(browser, reward_id, **fields)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "commit" not in wire.calls


async def test_the_form_token_of_another_session_is_refused(
    open_shop: OpenShop, browser: httpx.AsyncClient, buy: Buy
) -> None:
    async with open_shop() as other:
        other.headers["X-Form"] = browser.headers["X-Form"]
        assert (await buy(other, "coffee")).status_code == 403
