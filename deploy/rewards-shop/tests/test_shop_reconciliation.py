"""The books of a day: what the shop sends, what it looks at, and what is no answer."""

from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest
from rewards_shop.app import platform_http
from rewards_shop.orders import Order, OrderState
from rewards_shop.platform_client import NoAnswer
from rewards_shop.reconciliation import Books, matters, reconcile, stated
from rewards_shop.rehearsal.platform import RehearsalPlatform, Transaction
from rewards_shop.rehearsal.wire import Wire
from rewards_shop.settings import ShopSettings
from rewards_shop.store import Store

Buy = Callable[..., Coroutine[Any, Any, httpx.Response]]
HOURS = 3600.0


async def books(settings: ShopSettings, wire: httpx.AsyncBaseTransport, now: float) -> Books:
    """As the command does it, beside a shop that serves."""
    store = Store(settings.state_path)
    try:
        async with platform_http(settings, wire) as http:
            return await reconcile(http, store, now=now, days=31)
    finally:
        store.close()


async def test_books_that_agree_have_nothing_to_look_at(
    browser: httpx.AsyncClient, buy: Buy, settings: ShopSettings, wire: Wire, clock: Any
) -> None:
    assert (await buy(browser, "coffee")).json()["outcome"] == "fulfilled"
    assert (await buy(browser, "lamp")).json()["outcome"] == "out_of_stock"
    found = await books(settings, wire, clock.now + 2 * HOURS)
    assert found == Books([], {"yours": 2, "agreed": 2})


async def test_points_that_differ_are_found(
    browser: httpx.AsyncClient,
    buy: Buy,
    settings: ShopSettings,
    wire: Wire,
    clock: Any,
    stage: RehearsalPlatform,
) -> None:
    bought = (await buy(browser, "coffee")).json()
    stage.transactions[bought["order_id"]].state = "rolled_back"
    stage.transactions["unknown"] = Transaction("ada", 7, "held")
    stage.transactions["nothing"] = Transaction("ada", 7, "rejected")
    found = await books(settings, wire, clock.now + 2 * HOURS)
    assert [(one["finding"], one["transactionid"]) for one in found.findings] == [
        ("state_differs", bought["order_id"]),
        ("only_ours", "unknown"),
    ]


async def test_orders_that_may_be_under_way_wait_for_the_next_day(
    browser: httpx.AsyncClient, buy: Buy, settings: ShopSettings, wire: Wire, clock: Any
) -> None:
    await buy(browser, "coffee")
    assert (await books(settings, wire, clock.now + HOURS)).summary["yours"] == 0
    assert (await books(settings, wire, clock.now + 40 * 24 * HOURS)).summary["yours"] == 0
    assert (await books(settings, wire, clock.now + HOURS + 1)).summary["yours"] == 1


async def test_a_thousand_orders_go_out_page_by_page(settings: ShopSettings, wire: Wire, clock: Any) -> None:
    store = Store(settings.state_path)
    for number in range(1001):
        order = Order(f"o-{number:04}", "ada", "coffee", 1, "x", clock.now, state=OrderState.EXPIRED)
        await store.remember(order)
        await store.save(order)
    store.close()
    assert (await books(settings, wire, clock.now + 2 * HOURS)).summary["yours"] == 1001


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(
            200, content=b'{"finding":"only_ours","transactionid":"a","ours":{"state":"held","points":1}}\n'
        ),
        httpx.Response(200, content=b"<html>"),
        httpx.ConnectError("away"),
    ],
    ids=["503", "429", "no summary", "a proxy's page", "no connection"],
)
async def test_an_answer_that_is_not_whole_is_none(
    answer: httpx.Response | Exception, settings: ShopSettings, clock: Any
) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(NoAnswer):
        await books(settings, httpx.MockTransport(respond), clock.now)


@pytest.mark.parametrize(
    ("state", "reason", "taken", "expected"),
    [
        (OrderState.FULFILLED, "", 5, ("confirmed", 5)),
        (OrderState.OUT_OF_STOCK, "out_of_stock", 0, ("rolled_back", 0)),
        (OrderState.CANCELLED, "unanswered", 0, ("rolled_back", 0)),
        (OrderState.EXPIRED, "", 0, ("expired", 0)),
        (OrderState.REFUSED, "insufficient_points", 0, ("rejected", 0)),
        (OrderState.REFUSED, "invalid_user", 0, None),
        (OrderState.HELD, "", 5, None),
    ],
)
def test_an_order_is_told_in_the_platforms_words(
    state: OrderState, reason: str, taken: int, expected: tuple[str, int] | None
) -> None:
    assert stated(Order("o", "ada", "coffee", 5, "x", 0.0, state=state, reason=reason, taken=taken)) == expected


def test_other_words_for_nothing_taken_do_not_matter() -> None:
    nothing, held = {"state": "cancelled", "points": 0}, {"state": "held", "points": 5}
    assert not matters({"finding": "state_differs", "yours": {"state": "rolled_back", "points": 0}, "ours": nothing})
    assert not matters({"finding": "only_ours", "ours": nothing})
    assert matters({"finding": "still_held", "yours": nothing, "ours": held})
    assert matters({"finding": "malformed", "line": 1, "detail": "x"})
