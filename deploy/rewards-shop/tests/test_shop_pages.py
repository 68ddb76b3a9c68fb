"""The pages: whose they are, in which language, and what they keep to themselves."""

import re
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from rewards_shop.catalogue import REWARDS
from rewards_shop.orders import OrderState
from rewards_shop.problems import PAGES
from rewards_shop.rehearsal.platform import RehearsalPlatform
from rewards_shop.rehearsal.wire import Wire, unreachable
from rewards_shop.texts import TEXTS

Buy = Callable[..., Coroutine[Any, Any, httpx.Response]]
OpenShop = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
HTML = {"Accept": "text/html"}


async def test_the_catalogue_shows_who_has_how_many_points(browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/", headers=HTML)).text
    assert "Hello Ada" in page
    assert page.count('data-testid="reward"') == len(REWARDS) >= 6
    assert 'href="http://localhost:8611/account"' in page


async def test_a_form_as_a_browser_sends_it_leads_to_the_order(browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/", headers=HTML)).text
    link = re.search(r'href="(/rewards/coffee\?order_id=[^"]+)"', page)
    assert link is not None
    # Asked for again, the page is about the same order.
    reviews = [(await browser.get(link[1], headers=HTML)).text for _ in range(2)]
    (fields, same) = (dict(re.findall(r'name="(\w+)" value="([^"]*)"', review)) for review in reviews)
    assert fields == same
    assert 'data-testid="left">1,000<' in reviews[0]
    assert "Coffee for two" in reviews[0]
    assert set(fields) == {"csrf_token", "order_id", "reward_id"}
    placed = await browser.post("/orders", data=fields, headers=HTML)
    assert placed.status_code == 303
    order = (await browser.get(placed.headers["Location"], headers=HTML)).text
    assert 'data-outcome="fulfilled"' in order
    assert re.findall(r'data-step="(\w+)" data-result="(\w+)"', order) == [
        ("placed", "ok"),
        ("hold", "ok"),
        ("stock", "ok"),
        ("confirm", "ok"),
    ]
    assert ">1,000<" in order
    assert "On its way" in (await browser.get("/", headers=HTML)).text


async def test_times_are_those_of_the_shops_zone_which_is_named(browser: httpx.AsyncClient, buy: Buy) -> None:
    where = (await buy(browser, "coffee")).headers["Location"]
    for lang, form in (("en", "Placed on %d/%m/%Y, %H:%M %Z"), ("de", "Aufgegeben am %d.%m.%Y, %H:%M %Z")):
        page = (await browser.get(f"{where}?lang={lang}", headers=HTML)).text
        told = re.search(r'<time datetime="([^"]+)">([^<]+)</time>', page)
        assert told is not None
        assert told[2] == datetime.fromisoformat(told[1]).astimezone(ZoneInfo("Europe/Berlin")).strftime(form)


async def test_a_review_orders_nothing_and_says_what_is_missing(browser: httpx.AsyncClient) -> None:
    for reward_id, status in (("alps", 200), ("nothing", 404)):
        assert (await browser.get(f"/rewards/{reward_id}", headers=HTML)).status_code == status
    dear = (await browser.get("/rewards/alps?order_id=x&lang=de", headers=HTML)).text
    assert "Dir fehlen noch" in dear
    assert 'value="x"' not in dear
    assert (await browser.get("/")).json()["orders"] == []


@pytest.mark.parametrize("reward_id", [*REWARDS])
async def test_every_order_page_can_be_shown_in_both_languages(
    browser: httpx.AsyncClient, buy: Buy, reward_id: str
) -> None:
    where = (await buy(browser, reward_id)).headers["Location"]
    for lang in ("en", "de"):
        assert f'<html lang="{lang}">' in (await browser.get(f"{where}?lang={lang}", headers=HTML)).text


async def test_a_pending_order_says_so_and_can_be_looked_at_again(
    browser: httpx.AsyncClient, buy: Buy, wire: Wire
) -> None:
    wire.always.update(dict.fromkeys(("commit", "look_up"), unreachable))
    page = (await browser.get((await buy(browser, "coffee")).headers["Location"], headers=HTML)).text
    assert 'data-outcome="pending"' in page
    assert 'data-testid="check-again"' in page
    assert "You will not be charged twice" in page


@pytest.mark.parametrize(
    ("wish", "lang"),
    [
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("en;q=0.4,de;q=0.6", "de"),
        ("fr,en", "en"),
        ("", "en"),
        ("de;q=0", "en"),
        ("de;q=x", "en"),
    ],
)
async def test_the_browsers_language_is_spoken(browser: httpx.AsyncClient, wish: str, lang: str) -> None:
    page = await browser.get("/", headers=HTML | {"Accept-Language": wish})
    assert page.headers["Content-Language"] == lang


async def test_the_switch_is_remembered(browser: httpx.AsyncClient) -> None:
    await browser.get("/?lang=de", headers=HTML)
    page = (await browser.get("/", headers=HTML | {"Accept-Language": "en"})).text
    assert "Hallo Ada" in page
    assert "1.250" in page
    assert "Hello Ada" in (await browser.get("/?lang=en", headers=HTML)).text


async def test_an_order_is_shown_to_its_owner_only(
    open_shop: OpenShop, browser: httpx.AsyncClient, buy: Buy, stage: RehearsalPlatform
) -> None:
    where = (await buy(browser, "coffee")).headers["Location"]
    stage.balances["eve"] = 10
    await browser.get("/redeem", params={"token": stage.token(stage.claims("eve"))})
    response = await browser.get(where)
    assert (response.status_code, response.json()["code"]) == (404, "order_not_found")
    assert (await browser.get("/")).json()["orders"] == []


async def test_names_are_shown_as_text(open_shop: OpenShop, stage: RehearsalPlatform) -> None:
    async with open_shop(visiting=False) as browser:
        claims = stage.claims("ada") | {"firstname": "<script>alert(1)</script>"}
        await browser.get("/redeem", params={"token": stage.token(claims)})
        page = (await browser.get("/", headers=HTML)).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize("path", ["/", "/nothing", "/orders/x", "/help/used", "/static/shop.css"])
async def test_every_answer_keeps_to_itself(browser: httpx.AsyncClient, path: str) -> None:
    headers = (await browser.get(path, headers=HTML)).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == ("public, max-age=3600" if path.startswith("/static") else "no-store")


async def test_pages_need_nothing_that_the_policy_forbids(browser: httpx.AsyncClient, buy: Buy) -> None:
    order = (await buy(browser, "lamp")).headers["Location"]
    for path in ("/", order, "/help/used"):
        page = (await browser.get(path, headers=HTML)).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script>", page)
        assert not re.search(r'(?:src|action)="(?!/)', page)


@pytest.mark.parametrize("page", PAGES)
async def test_every_problem_has_a_page_in_both_languages(browser: httpx.AsyncClient, page: str) -> None:
    for lang in (0, 1):
        shown = await browser.get(f"/help/{page}?lang={('en', 'de')[lang]}", headers=HTML)
        assert (shown.status_code, TEXTS[f"problem.{page}.title"][lang] in shown.text) == (200, True)


def test_every_outcome_has_words_and_every_word_its_places_in_both_languages() -> None:
    finished = {state.value for state in OrderState} - {"placed", "held", "confirming", "rolling_back"}
    for outcome in {"pending", "insufficient", *finished}:
        assert {f"outcome.{outcome}.{part}" for part in ("title", "text", "short")} <= TEXTS.keys()
    for key, (english, german) in TEXTS.items():
        places = [sorted(name for _, name, _, _ in Formatter().parse(words) if name) for words in (english, german)]
        assert places[0] == places[1], key


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"token=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"{", "application/json", 400),
        (b"[" * 10_000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 30, "application/x-www-form-urlencoded", 400),
        (b"token=x", "text/plain", 415),
    ],
)
async def test_what_is_no_form_is_refused(browser: httpx.AsyncClient, content: bytes, kind: str, status: int) -> None:
    response = await browser.post("/orders", content=content, headers={"Content-Type": kind})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_the_json_twin_takes_json(browser: httpx.AsyncClient) -> None:
    body = {"reward_id": "trees", "csrf_token": (await browser.get("/")).json()["csrf_token"]}
    order = await browser.post("/orders", json=body)
    assert (order.status_code, order.json()["outcome"]) == (201, "fulfilled")
    assert order.json()["placed_at"].endswith("Z")


async def test_the_shop_is_alive(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/healthz")).json() == {"status": "ok"}


async def test_a_defect_shows_a_friendly_page(browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret inside")

    monkeypatch.setattr("rewards_shop.routes.present_balance", broken)
    response = await browser.get("/", headers=HTML)
    assert response.status_code == 500
    assert "That was our mistake" in response.text
    assert "a secret inside" not in response.text
    assert response.headers["Cache-Control"] == "no-store"
