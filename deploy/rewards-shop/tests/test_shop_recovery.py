"""Orders whose outcome was not learnt: after a crash, after a silence, none is left lying."""

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
Forward = Callable[[], Awaitable[httpx.Response]]


async def crash_in(call: str, reward: str, *, arrives: bool, open_shop: OpenShop, buy: Buy, wire: Wire) -> str:
    """Opens a shop, buys, and ends the shop in the middle of a call. Returns the order id."""
    arrived = asyncio.Event()

    async def never_answered(request: httpx.Request, forward: Forward) -> httpx.Response:
        if arrives:
            await forward()
        arrived.set()
        return await asyncio.Future[httpx.Response]()

    wire.always[call] = never_answered
    order_id = str(uuid4())
    async with open_shop() as browser:
        click = asyncio.create_task(buy(browser, reward, order_id=order_id))
        await arrived.wait()
        click.cancel()
        await asyncio.gather(click, return_exceptions=True)
    del wire.always[call]
    return order_id


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize(
    ("call", "reward", "outcome_if_it_arrived", "outcome_if_not"),
    [
        ("commit", "coffee", "fulfilled", "cancelled"),
        ("confirm", "coffee", "fulfilled", "fulfilled"),
        ("rollback", "lamp", "out_of_stock", "out_of_stock"),
    ],
)
async def test_a_crash_in_any_call_is_made_good_at_the_start(
    open_shop: OpenShop,
    buy: Buy,
    wire: Wire,
    stage: RehearsalPlatform,
    rounds: Any,
    call: str,
    reward: str,
    outcome_if_it_arrived: str,
    outcome_if_not: str,
    arrives: bool,
) -> None:
    order_id = await crash_in(call, reward, arrives=arrives, open_shop=open_shop, buy=buy, wire=wire)
    rounds.idle.clear()
    async with open_shop() as browser:
        await rounds.idle.wait()
        order = (await browser.get(f"/orders/{order_id}")).json()
    outcome = outcome_if_it_arrived if arrives else outcome_if_not
    assert (order["outcome"], order["finished"]) == (outcome, True)
    assert stage.balances["ada"] == (1000 if outcome == "fulfilled" else 1250)
    assert all(transaction.state != "held" for transaction in stage.transactions.values())


async def test_an_order_is_on_disk_before_the_platform_hears_of_it(
    open_shop: OpenShop, buy: Buy, wire: Wire, stage: RehearsalPlatform
) -> None:
    order_id = str(uuid4())
    async with open_shop() as browser:
        known_at_commit = []

        async def look(request: httpx.Request, forward: Forward) -> httpx.Response:
            known_at_commit.append((await browser.get(f"/orders/{order_id}")).status_code)
            return await forward()

        wire.faults["commit"] = [look]
        await buy(browser, "coffee", order_id=order_id)
    assert known_at_commit == [200]


@pytest.mark.parametrize("silence", [unreachable, answer_lost, answers(503), answers(401)])
async def test_an_order_stays_open_while_the_platform_is_silent_and_is_settled_after(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform, rounds: Any, silence: Any
) -> None:
    for call in ("confirm", "look_up"):
        wire.always[call] = silence
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    for _ in range(3):
        await rounds.run_one()
        order = (await browser.get(f"/orders/{order_id}")).json()
        assert (order["outcome"], order["state"]) == ("pending", "confirming")
    wire.always.clear()
    await rounds.run_one()
    order = (await browser.get(f"/orders/{order_id}")).json()
    assert (order["outcome"], stage.balances["ada"]) == ("fulfilled", 1000)


async def test_nothing_is_bought_long_after_the_fact(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform, rounds: Any
) -> None:
    for call in ("commit", "look_up", "rollback"):
        wire.always[call] = unreachable
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    wire.always.clear()
    commits = wire.calls.count("commit")
    await rounds.run_one()
    order = (await browser.get(f"/orders/{order_id}")).json()
    assert (order["outcome"], stage.balances["ada"]) == ("cancelled", 1250)
    assert wire.calls.count("commit") == commits


@pytest.mark.parametrize("riddle", [answers(401), answers(404), answers(200, '{"state": "a state of next year"}')])
async def test_an_order_is_not_sent_again_on_an_answer_that_settles_nothing(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, stage: RehearsalPlatform, rounds: Any, riddle: Any
) -> None:
    wire.always.update({"commit": unreachable, "look_up": riddle})
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    del wire.always["commit"]
    await rounds.run_one()
    assert (await browser.get(f"/orders/{order_id}")).json()["outcome"] == "pending"
    assert order_id not in stage.transactions


async def test_a_refused_password_is_not_taken_for_a_refused_order(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire, rounds: Any
) -> None:
    wire.always.update(dict.fromkeys(("commit", "look_up", "rollback"), answers(401)))
    order_id = (await buy(browser, "coffee")).json()["order_id"]
    await rounds.run_one()
    assert (await browser.get(f"/orders/{order_id}")).json()["outcome"] == "pending"
    wire.always.clear()
    await rounds.run_one()
    assert (await browser.get(f"/orders/{order_id}")).json()["outcome"] == "cancelled"


async def test_the_balance_is_reckoned_while_the_platform_does_not_tell_it(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire
) -> None:
    wire.always["balance"] = unreachable
    assert (await buy(browser, "coffee")).json()["balance"] == 1000
    assert (await buy(browser, "lamp")).json()["balance"] == 1000
    assert (await buy(browser, "alps")).json()["balance"] == 1000


async def test_a_defect_in_one_order_does_not_stop_the_others(
    open_shop: OpenShop, buy: Buy, rounds: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken_shelf(reward_id: str) -> bool:
        if reward_id == "book":
            raise OSError("shelf collapsed")
        return True

    async with open_shop(warehouse=broken_shelf) as browser:
        assert (await buy(browser, "book")).json()["outcome"] == "pending"
        assert (await buy(browser, "coffee")).json()["outcome"] == "fulfilled"
        await rounds.run_one()
    assert "shelf collapsed" in caplog.text


async def test_the_file_of_orders_is_for_its_owner_only(browser: httpx.AsyncClient, settings: ShopSettings) -> None:
    assert settings.state_path.stat().st_mode & 0o077 == 0
