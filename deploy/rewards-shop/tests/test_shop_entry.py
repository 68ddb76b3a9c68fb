"""Coming in from the platform: once, by a link that leaves no trace."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from rewards_shop.rehearsal.platform import RehearsalPlatform
from rewards_shop.rehearsal.wire import Wire, answer_lost, answers, unreachable

OpenShop = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def link(stage: RehearsalPlatform) -> str:
    return f"/redeem?token={stage.token(stage.claims('ada'))}"


async def test_the_link_opens_a_session_and_leaves_the_address_bar(open_shop: OpenShop, link: str) -> None:
    async with open_shop(visiting=False) as browser:
        response = await browser.get(link, headers=HTML)
        assert (response.status_code, response.headers["Location"]) == (303, "/")
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        cookie = response.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        page = await browser.get("/", headers=HTML)
        assert "Hello Ada" in page.text
        assert 'data-points="1250"' in page.text


async def test_the_token_may_come_in_a_form(open_shop: OpenShop, stage: RehearsalPlatform) -> None:
    async with open_shop(visiting=False) as browser:
        response = await browser.post("/redeem", data={"token": stage.token(stage.claims("ada"))}, headers=HTML)
        assert response.status_code == 303
        assert (await browser.get("/")).json()["user"]["userid"] == "ada"


async def test_the_points_of_now_count_not_those_in_the_token(
    open_shop: OpenShop, stage: RehearsalPlatform, link: str
) -> None:
    stage.balances["ada"] = 900
    async with open_shop(visiting=False) as browser:
        assert (await browser.get(link)).json()["points"] == 900


async def test_a_link_opens_the_shop_once(open_shop: OpenShop, link: str) -> None:
    async with open_shop(visiting=False) as browser:
        await browser.get(link)
        browser.cookies.clear()
        again = await browser.get(link, headers=HTML)
        assert again.status_code == 409
        assert "This link has been used already" in again.text
        assert 'href="http://localhost:8611/account"' in again.text
        assert "Set-Cookie" not in again.headers
        assert (await browser.get(link)).json()["code"] == "token_already_redeemed"


@pytest.mark.parametrize("fault", [answer_lost, unreachable, answers(503)])
async def test_a_lost_answer_does_not_lose_the_visit(open_shop: OpenShop, wire: Wire, link: str, fault: Any) -> None:
    wire.faults["redeem"] = [fault, fault]
    async with open_shop(visiting=False) as browser:
        assert (await browser.get(link)).status_code == 200


async def test_while_the_platform_is_silent_nobody_is_let_in(open_shop: OpenShop, wire: Wire, link: str) -> None:
    for silent in ("redeem", "keys"):
        wire.always = {silent: unreachable}
        async with open_shop(visiting=False) as browser:
            response = await browser.get(link)
            assert (response.status_code, response.json()["code"]) == (503, "platform_unavailable")
            assert response.headers["Retry-After"] == "10"
            assert not browser.cookies


async def test_a_shop_the_platform_refuses_lets_nobody_in(open_shop: OpenShop, wire: Wire, link: str) -> None:
    wire.always["redeem"] = answers(401)
    async with open_shop(visiting=False) as browser:
        assert (await browser.get(link)).status_code == 503


async def test_a_forged_link_is_refused_without_asking_the_platform(
    open_shop: OpenShop, stage: RehearsalPlatform, wire: Wire
) -> None:
    forged = stage.token(stage.claims("ada") | {"aud": "another"})
    async with open_shop(visiting=False) as browser:
        response = await browser.get("/redeem", params={"token": forged})
        assert (response.status_code, response.json()["code"]) == (400, "wrong_audience")
    assert "redeem" not in wire.calls


async def test_what_the_platform_knows_better_is_believed(open_shop: OpenShop, wire: Wire, link: str) -> None:
    wire.faults["redeem"] = [answers(400, '{"code": "token_expired"}')]
    async with open_shop(visiting=False) as browser:
        response = await browser.get(link, headers=HTML)
        assert response.status_code == 400
        assert "This link has expired" in response.text


async def test_a_link_without_a_token_is_a_friendly_page(open_shop: OpenShop) -> None:
    async with open_shop(visiting=False) as browser:
        assert "does not open the shop" in (await browser.get("/redeem", headers=HTML)).text


async def test_looking_at_a_link_does_not_use_it_up(open_shop: OpenShop, wire: Wire, link: str) -> None:
    async with open_shop(visiting=False) as browser:
        assert (await browser.head(link)).status_code == 405
        assert "redeem" not in wire.calls


async def test_each_visit_gets_a_session_of_its_own(open_shop: OpenShop, stage: RehearsalPlatform) -> None:
    async with open_shop() as browser:
        before = browser.cookies["shop_session"]
        await browser.get("/redeem", params={"token": stage.token(stage.claims("ada"))})
        assert browser.cookies["shop_session"] != before
        browser.cookies.clear()
        former = await browser.get("/", headers={"Cookie": f"shop_session={before}"})
        assert former.status_code == 401


@pytest.mark.parametrize(
    "spoil", [str.upper, lambda cookie: cookie[:-1], lambda cookie: cookie.split(".")[0], lambda _: "é"]
)
async def test_a_cookie_the_shop_did_not_sign_opens_nothing(
    browser: httpx.AsyncClient, spoil: Callable[[str], str]
) -> None:
    spoilt = spoil(browser.cookies["shop_session"])
    browser.cookies.clear()
    response = await browser.get("/", headers={b"Cookie": b"shop_session=" + spoilt.encode()})
    assert (response.status_code, response.json()["code"]) == (401, "no_session")
    assert "WWW-Authenticate" in response.headers


async def test_a_session_ends(browser: httpx.AsyncClient, clock: Any) -> None:
    clock.now += 7200
    assert (await browser.get("/")).status_code == 401


async def test_a_session_outlives_a_restart(open_shop: OpenShop) -> None:
    async with open_shop() as browser:
        cookies = browser.cookies
    async with open_shop(visiting=False) as browser:
        browser.cookies = cookies
        assert (await browser.get("/")).json()["user"]["firstname"] == "Ada"


async def test_no_token_reaches_the_log(open_shop: OpenShop, link: str, caplog: pytest.LogCaptureFixture) -> None:
    token = link.partition("=")[2]
    with caplog.at_level(logging.DEBUG, "rewards_shop"):
        async with open_shop(visiting=False) as browser:
            await browser.get(link)
            await browser.get(link)
    assert "'/redeem' 409" in caplog.text
    assert token not in caplog.text
    assert token.rpartition(".")[2] not in caplog.text
