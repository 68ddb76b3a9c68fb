"""The journey of points in a real browser, through the gateway, the services and the shop as they run."""

from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser, expect

from .browsing import visiting
from .running_platform import Customer, RunningPlatform

VENDOR_PATH = "/sso/v1/vendors/rewards-shop"
REDEEM_PATH = "/sso/v1/redeem/rewards-shop"


async def test_points_are_shown_carried_to_the_shop_and_spent_there(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser
) -> None:
    """The person of `demo.json`, at the addresses that the terminal names."""
    ada = platform.description["users"][0]
    points = (await platform.balance(http, ada["user_id"]))[0]
    async with visiting(browser, platform) as visitor:
        page = visitor.page
        await page.goto(platform.gateway)
        await visitor.sign_in(ada["email"], ada["password"])
        await visitor.sees_account(ada["firstname"])
        await visitor.sees_points(points)
        await visitor.press_redeem()
        await visitor.sees_shop(ada["firstname"], points)
        assert await page.evaluate("document.referrer") == ""
        (link,) = visitor.redeem_links()
        address, _, token = link.partition("?token=")
        assert address == f"{platform.shop}/redeem"
        assert token not in await page.content()

        await visitor.buy("book", "fulfilled", points - 400)
        assert await visitor.steps() == [("placed", "ok"), ("hold", "ok"), ("stock", "ok"), ("confirm", "ok")]
        assert await platform.balance(http, ada["user_id"]) == (points - 400, 0)
        await page.get_by_test_id("more-rewards").click()
        await visitor.sees_shop(ada["firstname"], points - 400)

        await visitor.buy("lamp", "out_of_stock", points - 400)
        assert await visitor.steps() == [
            ("placed", "ok"),
            ("hold", "ok"),
            ("stock", "out_of_stock"),
            ("rollback", "ok"),
        ]
        assert await platform.balance(http, ada["user_id"]) == (points - 400, 0)
        await page.get_by_test_id("more-rewards").click()

        await visitor.buy("alps", "too_dear", points - 400)
        assert await visitor.steps() == [("placed", "ok"), ("hold", "refused")]
        assert await platform.balance(http, ada["user_id"]) == (points - 400, 0)

        await page.get_by_role("link", name=visitor.words["back"]).click()
        await visitor.sees_account(ada["firstname"])
        await visitor.sees_points(points - 400)
        assert visitor.troubles == []
    newest = (await http.get(f"/v1/accounts/{ada['user_id']}/entries", auth=platform.auth("platform"))).json()
    assert newest["entries"][0]["points"] == -400
    assert newest["entries"][0]["balance"] == points - 400


@pytest.mark.parametrize(
    ("language", "delivery", "scripts"),
    [("de", "query", True), ("en", "query", False), ("en", "form_post", True), ("de", "form_post", False)],
    ids=["German", "without scripts", "posted", "posted without scripts, in German"],
)
async def test_the_journey_is_the_same_in_both_languages_and_deliveries_and_without_scripts(
    platform: RunningPlatform,
    http: httpx.AsyncClient,
    browser: Browser,
    language: str,
    delivery: str,
    scripts: bool,
    vendor_settings: dict[str, Any],
) -> None:
    await deliver_by(delivery, platform, http, vendor_settings)
    customer = await platform.new_customer(http, 1250)
    async with visiting(browser, platform, language, java_script_enabled=scripts) as visitor:
        await visitor.open_account(customer)
        assert await visitor.page.get_attribute("html", "lang") == language
        await visitor.sees_points(1250)
        await visitor.press_redeem()
        if delivery == "form_post":
            if not scripts:
                assert visitor.page.url == f"{platform.gateway}{REDEEM_PATH}"
                await visitor.page.get_by_role("button").click()
            assert visitor.redeem_links() == []
        await visitor.sees_shop(customer.firstname, 1250)
        assert await visitor.page.get_attribute("html", "lang") == language
        await visitor.buy("trees", "fulfilled", 1100)
        await visitor.page.get_by_test_id("more-rewards").click()
        await visitor.buy("headphones", "too_dear", 1100)
        await visitor.page.get_by_role("link", name=visitor.words["back"]).click()
        await visitor.sees_points(1100)
        await visitor.page.get_by_role("button", name=visitor.words["sign_out"]).click()
        await expect(visitor.page.get_by_text(visitor.words["signed_out"])).to_be_visible()
        assert visitor.troubles == []
    assert await platform.balance(http, customer.user_id) == (1100, 0)


async def test_the_journey_begins_by_https_as_well(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser
) -> None:
    gateway = platform.description["gateway_tls"]
    customer = await platform.new_customer(http, 1000)
    async with visiting(browser, platform) as visitor:
        await visitor.open_account(customer, gateway)
        (session,) = [one for one in await visitor.context.cookies(gateway) if one["name"] == "__Host-session"]
        assert (session["secure"], session["httpOnly"], session["sameSite"]) == (True, True, "Lax")
        await visitor.press_redeem()
        await visitor.sees_shop(customer.firstname, 1000)
        await visitor.buy("coffee", "fulfilled", 750)
        await visitor.page.goto(f"{gateway}/account")
        await visitor.sees_points(750)
        await visitor.page.get_by_role("button", name=visitor.words["sign_out"]).click()
        await expect(visitor.page.get_by_text(visitor.words["signed_out"])).to_be_visible()
        assert visitor.page.url.startswith(f"{gateway}/login")


async def test_a_link_to_the_shop_lets_nobody_in_a_second_time(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser
) -> None:
    customer = await platform.new_customer(http, 1000)
    async with visiting(browser, platform) as visitor, visiting(browser, platform, "de") as thief:
        await visitor.open_account(customer)
        await visitor.press_redeem()
        await visitor.sees_shop(customer.firstname, 1000)
        (link,) = visitor.redeem_links()
        await thief.page.goto(link)
        await thief.sees_problem("token_already_redeemed")
        await expect(thief.page.get_by_role("heading", name=thief.words["used"])).to_be_visible()
        assert await thief.context.cookies(platform.shop) == []
        await thief.page.goto(platform.shop)
        await thief.sees_problem("no_session")
        # The one who came first is not disturbed.
        await visitor.page.reload()
        await visitor.sees_shop(customer.firstname, 1000)
        await visitor.page.get_by_role("link", name=visitor.words["back"]).click()
        await visitor.press_redeem()
        await visitor.sees_shop(customer.firstname, 1000)


async def test_who_has_signed_out_is_out(platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser) -> None:
    customer = await platform.new_customer(http, 10)
    async with visiting(browser, platform) as visitor:
        await visitor.open_account(customer)
        cookies = {one["name"]: one["value"] for one in await visitor.context.cookies(platform.gateway)}
        await visitor.page.get_by_role("button", name=visitor.words["sign_out"]).click()
        await expect(visitor.page.get_by_text(visitor.words["signed_out"])).to_be_visible()
        await visitor.page.goto(f"{platform.gateway}/account")
        assert urlsplit(visitor.page.url).path == "/login"
        await visitor.page.go_back()
        assert customer.email not in await visitor.page.content()
    # Not only the browser has forgotten the session: the platform has.
    kept = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    account = await http.get("/account", headers=kept)
    assert (account.status_code, urlsplit(account.headers["location"]).path) == (303, "/login")
    redeem = await http.post(REDEEM_PATH, headers=kept | {"Accept": "application/json"})
    assert (redeem.status_code, redeem.json()["code"]) == (401, "not_signed_in")


async def test_a_click_on_redeem_after_the_session_has_ended_goes_on_after_signing_in(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser
) -> None:
    customer = await platform.new_customer(http, 300)
    async with visiting(browser, platform) as visitor:
        await visitor.open_account(customer)
        await visitor.context.clear_cookies(name="session")
        await visitor.press_redeem()
        await visitor.sign_in(customer.email, customer.password)
        assert visitor.page.url == f"{platform.gateway}{REDEEM_PATH}"
        await visitor.page.get_by_role("main").get_by_role("button").click()
        await visitor.sees_shop(customer.firstname, 300)


async def test_another_site_can_send_nobody_to_the_shop(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser, other_site: str
) -> None:
    customer = await platform.new_customer(http, 300)
    async with visiting(browser, platform) as visitor:
        await visitor.open_account(customer)
        await visitor.page.goto(f"{other_site}/?{platform.gateway}{REDEEM_PATH}")
        async with visitor.page.expect_navigation() as navigation:
            await visitor.page.get_by_role("button").click()
        answer = await navigation.value
        assert answer is not None
        assert (answer.url, answer.status) == (f"{platform.gateway}{REDEEM_PATH}", 403)
        assert visitor.redeem_links() == []
        assert "cross_site_request" in await visitor.page.content()
    assert await issuances_of(customer, platform, http) == 0


async def test_a_front_end_of_the_tenant_redirects_by_itself_and_no_other_does(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser, other_site: str
) -> None:
    customer = await platform.new_customer(http, 300)
    ask = """async (address) => {
        const answer = await fetch(address, {method: "POST", credentials: "include",
                                             headers: {"Accept": "application/json", "Idempotency-Key": "'one-click'"}})
        return {status: answer.status, body: await answer.json()}
    }"""
    async with visiting(browser, platform, bypass_csp=True) as visitor:
        await visitor.open_account(customer)
        await visitor.page.goto(platform.stand_in)
        answer = await visitor.page.evaluate(ask, f"{platform.gateway}{REDEEM_PATH}")
        assert answer["status"] == 201
        assert set(answer["body"]) == {"vendor_id", "delivery", "url", "fields", "token", "jti", "expires_at"}
        await visitor.page.goto(answer["body"]["url"])
        await visitor.sees_shop(customer.firstname, 300)
        await visitor.page.goto(other_site)
        with pytest.raises(Exception, match="Failed to fetch"):
            await visitor.page.evaluate(ask, f"{platform.gateway}{REDEEM_PATH}")
    assert await issuances_of(customer, platform, http) == 1


async def issuances_of(customer: Customer, platform: RunningPlatform, http: httpx.AsyncClient) -> int:
    query = {"user_id": customer.user_id}
    answer = await http.get("/sso/v1/issuances", params=query, auth=platform.auth("platform"))
    return len(answer.json()["issuances"])


async def deliver_by(
    delivery: str, platform: RunningPlatform, http: httpx.AsyncClient, settings: dict[str, Any]
) -> None:
    wanted = settings | {"delivery": delivery}
    answer = await http.put(VENDOR_PATH, auth=platform.auth("platform"), json=wanted)
    assert answer.status_code == 200, answer.text
    assert answer.json()["delivery"] == delivery


@pytest.fixture
async def vendor_settings(platform: RunningPlatform, http: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    """The shop's agreement as it is; put back afterwards."""
    names = ("name", "redirect_url", "delivery", "algorithm", "lifetime_seconds", "claim_spelling", "audience")
    shown = (await http.get(VENDOR_PATH, auth=platform.auth("platform"))).json()
    settings = {name: shown[name] for name in names}
    yield settings
    await deliver_by(settings["delivery"], platform, http, settings)


class _OtherSite(BaseHTTPRequestHandler):
    """A page with a button that posts to whatever address its query names."""

    def do_GET(self) -> None:
        body = f'<title>Win!</title><form method="post" action="{urlsplit(self.path).query}"><button>Go</button></form>'
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server calls
        """Nothing."""


@pytest.fixture
def other_site() -> Any:
    """The address of somebody else's page: for a browser, 127.0.0.1 is another site than localhost."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _OtherSite)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
