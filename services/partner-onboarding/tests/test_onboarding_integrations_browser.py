"""The whole way of an integration in a real Chromium: asked for, approved, allowed, withdrawn.

With `TEST_PICTURES=1`, what the pages look like is kept in `test-artefacts/`, to be looked at.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.async_api import Browser, Page, ViewportSize
from sqlalchemy import text
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from .chromium import check_accessible, photograph, served
from .integration_partner import CHALLENGE, REQUEST, redeem, told_consent
from .onboarding_house import PASSWORD, House

WORDS = {
    "en": {
        "tenant": "Whose data is it about?",
        "name": "Name of the integration",
        "organisation": "Your organisation",
        "goals": "What is it for?",
        "redirects": "Redirect addresses",
        "contact": "Name of the contact",
        "email": "E-mail address of the contact",
        "send": "Send the request",
        "thanks": "Thank you",
        "points": "See people's points and what was earned and spent",
        "look": "View the request Order insights",
        "approve": "Approve and register",
        "allow": "Allow access",
        "user": "User for API transactions",
        "show": "Show and change what Order insights may do",
        "withdraw": "Withdraw the permission",
        "now": "Withdraw now",
        "ended": "The permission is withdrawn.",
        "refuse": "Do not allow",
        "sign_in": "Sign in",
        "address": "E-mail address",
        "password": "Password",
        "sign_out": "Sign out",
        "clients": "Clients",
        "audit": "Audit",
        "rotate": "Make a new secret",
        "disable": "Disable the client",
    },
    "de": {
        "tenant": "Um wessen Daten geht es?",
        "name": "Name der Anbindung",
        "organisation": "Ihre Organisation",
        "goals": "Wozu dient sie?",
        "redirects": "Rücksprungadressen",
        "contact": "Name der Kontaktperson",
        "email": "E-Mail-Adresse der Kontaktperson",
        "send": "Antrag senden",
        "thanks": "Danke",
        "points": "Punktestände sehen, und was gesammelt und ausgegeben wurde",
        "look": "Antrag Order insights ansehen",
        "approve": "Freigeben und einrichten",
        "allow": "Zugriff erlauben",
        "user": "Person für API-Vorgänge",
        "show": "Ansehen und ändern, was Order insights darf",
        "withdraw": "Erlaubnis widerrufen",
        "now": "Jetzt widerrufen",
        "ended": "Die Erlaubnis ist widerrufen.",
        "refuse": "Nicht erlauben",
        "sign_in": "Anmelden",
        "address": "E-Mail-Adresse",
        "password": "Passwort",
        "sign_out": "Abmelden",
        "clients": "Clients",
        "audit": "Protokoll",
        "rotate": "Neues Secret anlegen",
        "disable": "Client abschalten",
    },
}


async def integrator(scope: Scope, receive: Receive, send: Send) -> None:
    """The third party's own site, where the browser comes back to."""
    await HTMLResponse("<title>Integrator</title><h1>Back at the integrator</h1>")(scope, receive, send)


class Walk:
    """A browser on its way, which looks closely at every page it comes to."""

    def __init__(self, page: Page, url: str, words: dict[str, str], pictures: Path) -> None:
        self.page, self.url, self.words, self.pictures = page, url, words, pictures
        self._seen = 0

    async def look(self, what: str) -> None:
        await check_accessible(self.page, what)
        self._seen += 1
        await photograph(self.page, self.pictures / f"{self._seen:02}-{what}.png")

    async def fill(self, label: str, value: str) -> None:
        await self.page.get_by_label(self.words[label], exact=True).fill(value)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=self.words[name], exact=True).click()

    async def sign_in(self, email: str) -> None:
        await self.fill("address", email)
        await self.fill("password", PASSWORD)
        await self.press("sign_in")


@pytest.fixture
async def integrator_url() -> AsyncIterator[str]:
    async with served(integrator, "127.0.0.1") as url:
        yield url


@pytest.mark.parametrize(
    ("language", "width", "scheme"), [("en", 1280, "light"), ("de", 360, "dark")], ids=["en-desktop", "de-phone"]
)
async def test_from_the_request_to_the_withdrawal(
    request: pytest.FixtureRequest,
    house: House,
    browser: Browser,
    integrator_url: str,
    language: str,
    width: int,
    scheme: str,
) -> None:
    pictures = request.config.rootpath / "test-artefacts" / f"integration-{language}-{width}"
    operator = await house.user("operator", roles=("operator",))
    admin = await house.user("admin", roles=("tenant_admin",), firstname="Anna", lastname="Admin")
    callback = f"{integrator_url}/callback?from=points"
    async with served(house.entrance(), "localhost") as url:
        viewport: ViewportSize = {"width": width, "height": 800}
        context = await browser.new_context(
            locale=language,
            viewport=viewport,
            color_scheme="dark" if scheme == "dark" else "light",
            bypass_csp=True,  # for axe alone, which is put into the page
        )
        page = await context.new_page()
        walk = Walk(page, url, WORDS[language], pictures)
        await _ask(walk, house)
        client_id = await _approve(walk, operator)
        await _move_to_this_machine(house, client_id, callback)
        code = await _allow(walk, client_id, callback, admin)
        redeemed = await redeem(house, client_id, code, redirect_uri=callback)
        assert redeemed.json()["subject"] == "admin"
        assert redeemed.json()["scopes"] == ["points:read"]
        await _withdraw(walk)
        assert await told_consent(house, client_id) is None
        await page.goto(_link(url, client_id, callback))
        await walk.press("refuse")
        await page.get_by_role("heading", name="Back at the integrator").wait_for()
        assert parse_qs(urlsplit(page.url).query)["error"] == ["access_denied"]
        await context.close()


async def _move_to_this_machine(house: House, client_id: str, callback: str) -> None:
    """The form takes https alone; the third party of this test runs here, without."""
    async with house.register.database.transaction() as connection:
        await connection.execute(
            text("UPDATE partner_onboarding.clients SET redirect_uris = ARRAY[:callback] WHERE client_id = :client_id"),
            {"callback": callback, "client_id": client_id},
        )


def _link(url: str, client_id: str, callback: str) -> str:
    query = {"redirect_uri": callback, "state": "s1", "scope": "points:read"}
    query |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    return f"{url}/setup/{client_id}?{urlencode(query)}"


async def _ask(walk: Walk, house: House) -> None:
    await walk.page.goto(f"{walk.url}/integrations/apply")
    await walk.look("apply")
    await walk.press("send")
    await walk.page.get_by_role("alert").wait_for()
    await walk.look("apply-with-mistakes")
    await walk.fill("tenant", f"Tenant {house.tenant}")
    await walk.fill("name", REQUEST["name"])
    await walk.fill("organisation", REQUEST["organisation"])
    await walk.fill("goals", REQUEST["goals"])
    await walk.page.get_by_label(walk.words["points"]).check()
    await walk.fill("redirects", REQUEST["redirect_uris"][0])
    await walk.fill("contact", REQUEST["contact_name"])
    await walk.fill("email", REQUEST["contact_email"])
    await walk.press("send")
    await walk.page.get_by_role("heading", name=walk.words["thanks"]).wait_for()
    await walk.look("thanks")


async def _approve(walk: Walk, operator: str) -> str:
    page = walk.page
    await page.goto(f"{walk.url}/operations")
    await walk.sign_in(operator)
    await page.get_by_role("link", name=walk.words["look"]).wait_for()
    await walk.look("requests")
    await page.get_by_role("link", name=walk.words["look"]).click()
    await page.get_by_role("button", name=walk.words["approve"]).wait_for()
    await walk.look("request")
    await walk.press("approve")
    await page.locator("#client_secret").wait_for()
    await walk.look("handover")
    client_id = await page.locator("#client_id").inner_text()
    await page.goto(f"{walk.url}/operations/clients/{client_id}")
    await page.get_by_role("button", name=walk.words["rotate"]).wait_for()
    await page.get_by_text(walk.words["disable"], exact=True).click()
    await walk.look("client")
    await page.get_by_role("link", name=walk.words["clients"], exact=True).click()
    await walk.look("clients")
    await page.get_by_role("link", name=walk.words["audit"], exact=True).click()
    await page.locator("table").wait_for()
    await walk.look("audit")
    await walk.press("sign_out")
    return client_id


async def _allow(walk: Walk, client_id: str, callback: str, admin: str) -> str:
    page = walk.page
    await page.goto(_link(walk.url, client_id, callback))
    await walk.sign_in(admin)
    await page.get_by_role("button", name=walk.words["allow"], exact=True).wait_for()
    await walk.look("setup")
    await walk.fill("user", "nobody")
    await walk.press("allow")
    await page.get_by_role("alert").wait_for()
    await walk.look("setup-with-mistake")
    await walk.fill("user", admin)
    await walk.press("allow")
    await page.get_by_role("heading", name="Back at the integrator").wait_for()
    told = parse_qs(urlsplit(page.url).query)
    assert told["from"] == ["points"]
    assert told["state"] == ["s1"]
    return told["code"][0]


async def _withdraw(walk: Walk) -> None:
    page = walk.page
    await page.goto(f"{walk.url}/consents")
    await page.get_by_role("link", name=walk.words["show"]).wait_for()
    await walk.look("consents")
    await page.get_by_role("link", name=walk.words["show"]).click()
    await page.get_by_text(walk.words["withdraw"], exact=True).click()
    await walk.look("consent")
    await walk.press("now")
    await page.get_by_text(walk.words["ended"]).wait_for()
    await walk.look("withdrawn")
