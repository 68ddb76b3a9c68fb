"""Every page that a customer meets, on a phone and at a desk: nothing that axe finds wrong, nothing cut off.

Pictures of all of them are left in `test-artefacts/`, for people to look at.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, expect

from .browsing import Visitor, visiting
from .running_platform import RunningPlatform

PHONE: ViewportSize = {"width": 360, "height": 780}
DESK: ViewportSize = {"width": 1280, "height": 900}
VENDOR_PATH = "/sso/v1/vendors/rewards-shop"
REDEEM_PATH = "/sso/v1/redeem/rewards-shop"


class Inspector:
    """Looks at the present page: English ones with axe on a phone, German ones at a desk in the dark."""

    def __init__(self, directory: Path, language: str) -> None:
        self._directory = directory
        self._language = language
        self._axe = Axe()

    async def look_at(self, page: Page, name: str) -> None:
        for width, viewport in (("desk", DESK), ("phone", PHONE)):
            if width == "phone" and self._language == "de":
                continue  # one look more for each page would take half a minute
            await page.set_viewport_size(viewport)
            picture = self._directory / f"{self._language}-{name}-{width}.png"
            await page.screenshot(path=picture, full_page=True, animations="disabled")
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
        results = await self._axe.run(page)
        assert results.violations_count == 0, f"{name}: {results.generate_report()}"
        assert await page.title()
        assert await page.get_attribute("html", "lang") in {"de", "en"}


@pytest.fixture(params=["en", "de"])
async def visitor(
    platform: RunningPlatform, browser: Browser, request: pytest.FixtureRequest
) -> AsyncIterator[Visitor]:
    # axe is put into the page, which the page's own policy would rightly refuse. German in the dark.
    scheme = "dark" if request.param == "de" else "light"
    async with visiting(browser, platform, request.param, bypass_csp=True, color_scheme=scheme) as visitor:
        yield visitor


@pytest.fixture
def inspector(artefacts: Path, visitor: Visitor) -> Inspector:
    return Inspector(artefacts, visitor.language)


async def test_pages_of_the_platform(
    platform: RunningPlatform, http: httpx.AsyncClient, visitor: Visitor, inspector: Inspector
) -> None:
    page = visitor.page
    customer = await platform.new_customer(http, 12_450, firstname="Maximiliane-Friederike")
    hold = {"userid": customer.user_id, "pointstodeduct": 300, "transactionid": customer.user_id, "description": "hold"}
    assert (await http.post("/eai/v1/points?commit", auth=platform.auth("vendor"), json=hold)).status_code == 200

    await page.goto(f"{platform.gateway}/account")
    await inspector.look_at(page, "sign-in")
    await visitor.sign_in(customer.email, "not the password")
    await expect(page.get_by_role("alert")).to_be_visible()
    await inspector.look_at(page, "sign-in-refused")
    await visitor.sign_in(customer.email, customer.password)
    await visitor.sees_account(customer.firstname)
    await inspector.look_at(page, "account")
    await page.goto(f"{platform.gateway}{REDEEM_PATH}")
    await inspector.look_at(page, "redeem-asked")
    await page.goto(f"{platform.gateway}/sso/v1/redeem/nobody")
    await inspector.look_at(page, "redeem-refused")
    await page.goto(f"{platform.gateway}/account/nothing")
    await inspector.look_at(page, "not-found")
    await page.goto(f"{platform.gateway}/account")
    await page.get_by_role("button", name=visitor.words["sign_out"]).click()
    await expect(page.get_by_text(visitor.words["signed_out"])).to_be_visible()
    await inspector.look_at(page, "signed-out")


async def test_pages_of_the_shop(
    platform: RunningPlatform, http: httpx.AsyncClient, visitor: Visitor, inspector: Inspector
) -> None:
    page = visitor.page
    customer = await platform.new_customer(http, 1250, firstname="Maximiliane-Friederike")
    await page.goto(platform.shop)
    await visitor.sees_problem("no_session")
    await inspector.look_at(page, "shop-no-session")
    await visitor.open_account(customer)
    await visitor.press_redeem()
    await visitor.sees_shop(customer.firstname, 1250)
    await inspector.look_at(page, "shop-catalogue")
    for reward_id, outcome, points in (
        ("coffee", "fulfilled", 1000),
        ("lamp", "out_of_stock", 1000),
        ("alps", "too_dear", 1000),
    ):
        await visitor.buy(reward_id, outcome, points)
        await inspector.look_at(page, f"shop-{outcome.replace('_', '-')}")
        await page.get_by_test_id("more-rewards").click()
    await inspector.look_at(page, "shop-catalogue-with-orders")
    await page.goto(visitor.redeem_links()[0])
    await visitor.sees_problem("token_already_redeemed")
    await inspector.look_at(page, "shop-link-used")
    await page.goto(f"{platform.shop}/orders/00000000-0000-4000-8000-000000000000")
    await inspector.look_at(page, "shop-not-found")


async def test_the_page_that_posts_the_token_and_the_page_where_partners_people_arrive(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser, inspector: Inspector, visitor: Visitor
) -> None:
    """The first is gone in a blink where scripts run, so it is held fast here by keeping its form from being sent."""
    page = visitor.page
    customer = await platform.new_customer(http, 1250)
    shown = (await http.get(VENDOR_PATH, auth=platform.auth("platform"))).json()
    names = ("name", "redirect_url", "delivery", "algorithm", "lifetime_seconds", "claim_spelling", "audience")
    settings = {name: shown[name] for name in names}
    await visitor.open_account(customer)
    try:
        await http.put(VENDOR_PATH, auth=platform.auth("platform"), json=settings | {"delivery": "form_post"})
        await page.add_init_script("HTMLFormElement.prototype.submit = () => {}")
        await visitor.press_redeem()
        await page.wait_for_url(f"{platform.gateway}{REDEEM_PATH}")
        await inspector.look_at(page, "redeem-posted")
    finally:
        answer = await http.put(VENDOR_PATH, auth=platform.auth("platform"), json=settings)
        assert answer.json()["delivery"] == "query"
    await page.goto(platform.description["clients"]["partner"]["landing_url"])
    await inspector.look_at(page, "stand-in")
