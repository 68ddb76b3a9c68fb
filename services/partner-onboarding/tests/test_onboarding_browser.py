"""The pages in a real Chromium: keyboard and script, without script, accessibility, and the way to a vendor."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, Page
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .chromium import check_accessible, served
from .onboarding_house import PASSWORD, House


@dataclass
class Gateway:
    """Sends /sso/v1/redeem to a stand-in for sso-issuer, all else to the service, as the real gateway does."""

    service: ASGIApp
    vendor: str
    posted: list[Mapping[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/sso/v1/redeem/"):
            self.posted.append({"method": scope["method"], **Request(scope).headers})
            await RedirectResponse(f"{self.vendor}/redeem?token=x", 303)(scope, receive, send)
        else:
            await self.service(scope, receive, send)


async def vendor_app(scope: Scope, receive: Receive, send: Send) -> None:
    await HTMLResponse("<title>Shop</title><h1>Welcome to the shop</h1>")(scope, receive, send)


@dataclass(frozen=True)
class Site:
    url: str
    gateway: Gateway


@pytest.fixture
async def site(house: House) -> AsyncIterator[Site]:
    async with served(vendor_app, "127.0.0.1") as vendor:
        gateway = Gateway(house.entrance(), vendor)
        # Another host than the vendor's, so that it is another site. Chromium takes localhost for trustworthy and
        # keeps the cookies that are for https alone.
        async with served(gateway, "localhost") as url:
            yield Site(url, gateway)


async def sign_in(page: Page, email: str) -> None:
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


async def test_redeeming_leads_over_a_redirect_to_the_vendors_site(house: House, site: Site, browser: Browser) -> None:
    """Chromium holds a page's form-action against every step of the redirect: the account page must name none."""
    house.neighbours.balances[house.tenant, "erika"] = (12450, 0)
    house.neighbours.vendors[house.tenant] = [{"vendor_id": "shop", "name": "Rewards shop"}]
    context = await browser.new_context(locale="en-GB")
    page = await context.new_page()
    await page.goto(site.url)
    await sign_in(page, await house.user())
    await page.get_by_role("heading", name="Hello, Erika").wait_for()
    await page.get_by_role("button", name="Redeem points at Rewards shop").click()
    await page.get_by_role("heading", name="Welcome to the shop").wait_for()
    assert page.url == f"{site.gateway.vendor}/redeem?token=x"
    (posted,) = site.gateway.posted
    assert posted["method"] == "POST"
    # With Referrer-Policy: no-referrer this would be "null", and be refused.
    assert posted["origin"] == site.url
    assert posted["sec-fetch-site"] == "same-origin"
    assert "__Host-session=" in posted["cookie"]
    await context.close()


async def test_everything_works_without_javascript(house: House, site: Site, browser: Browser) -> None:
    house.neighbours.vendors[house.tenant] = [{"vendor_id": "shop", "name": "Rewards shop"}]
    context = await browser.new_context(java_script_enabled=False, locale="de-DE")
    page = await context.new_page()
    await page.goto(f"{site.url}/account")
    await page.get_by_role("link", name="English").click()
    await page.get_by_role("link", name="Show the password while typing").click()
    assert await page.get_by_label("Password", exact=True).get_attribute("type") == "text"
    await sign_in(page, await house.user())
    await page.get_by_role("button", name="Redeem points at Rewards shop").click()
    await page.get_by_role("heading", name="Welcome to the shop").wait_for()
    await page.goto(site.url)
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_text("You have signed out.").wait_for()
    await context.close()


async def test_the_script_shows_the_password_and_hides_it_before_it_is_sent(
    house: House, site: Site, browser: Browser
) -> None:
    context = await browser.new_context(locale="en-GB")
    page = await context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    await page.goto(f"{site.url}/login")
    password = page.get_by_label("Password", exact=True)
    await password.fill("what I type")
    await page.get_by_role("button", name="Show password").click()
    assert await password.get_attribute("type") == "text"
    await page.get_by_role("button", name="Hide password").click()
    assert await password.get_attribute("type") == "password"
    assert troubles == []
    await context.close()


async def test_a_mistake_takes_the_focus_to_the_summary_that_leads_to_the_field(site: Site, browser: Browser) -> None:
    context = await browser.new_context(locale="en-GB")
    page = await context.new_page()
    await page.goto(f"{site.url}/login")
    await page.get_by_role("button", name="Sign in").click()
    alert = page.get_by_role("alert")
    await alert.wait_for()
    assert await alert.evaluate("element => element === document.activeElement")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.get_by_label("E-mail address").evaluate("element => element === document.activeElement")
    await context.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
async def test_pages_are_accessible_in_light_and_dark_on_phone_and_desktop(
    house: House, site: Site, browser: Browser, scheme: str, width: int
) -> None:
    house.neighbours.balances[house.tenant, "here"] = (12450, 300)
    house.neighbours.vendors[house.tenant] = [{"vendor_id": "shop", "name": "Rewards shop"}]
    email = await house.user("here")
    await house.user("there", tenant=await house.another_tenant(), email=email)
    context = await browser.new_context(
        locale="en-GB",
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 800},
        bypass_csp=True,  # for axe alone, which is put into the page
    )
    page = await context.new_page()

    async def check(what: str) -> None:
        await check_accessible(page, what)

    await page.goto(f"{site.url}/login?next=%2Faccount")
    await check("sign-in form")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("alert").wait_for()
    await check("sign-in form with mistakes")
    await sign_in(page, email)
    await page.get_by_role("heading", name="Which account?").wait_for()
    await check("choice of the account")
    await page.get_by_label(f"Tenant {house.tenant}").check()
    await sign_in(page, email)
    await page.get_by_role("heading", name="Hello, Erika").wait_for()
    await check("account")
    house.neighbours.ledger_is_down = house.neighbours.issuer_is_down = True
    await page.reload()
    await check("account without neighbours")
    await page.goto(f"{site.url}/nothing")
    await check("failure")
    await context.close()
