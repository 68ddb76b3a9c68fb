"""The handshake's pages in a real Chromium: both languages, with and without script, on a phone and on a desktop.

With `TEST_PICTURES=1`, what the pages look like is kept in `test-artefacts/onboarding/`, to be looked at.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from partner_onboarding.register.tables import clients
from playwright.async_api import Browser, BrowserContext, Page
from sqlalchemy import update
from starlette.responses import HTMLResponse
from starlette.types import Receive, Scope, Send

from .chromium import check_accessible, photograph, served
from .handshake_partner import Partner
from .handshake_people import GOOD_PASSWORD
from .onboarding_house import PASSWORD, House

PICTURES = Path(__file__).parents[3] / "test-artefacts" / "onboarding"
PHONE, DESKTOP = {"width": 360, "height": 780}, {"width": 1280, "height": 860}
LABELS = {
    "en": ("First name", "Last name", "E-mail address", "Choose a password", "I agree to the terms of use."),
    "de": ("Vorname", "Nachname", "E-Mail-Adresse", "Passwort wählen", "Ich stimme den Nutzungsbedingungen zu."),
}
PRIVACY = {
    "en": "I have read how my data are used, and I agree.",
    "de": "Ich habe gelesen, wie meine Daten verwendet werden, und stimme zu.",
}
SUBMIT = {"en": "Create account and link", "de": "Konto anlegen und verknüpfen"}


async def landing_page(scope: Scope, receive: Receive, send: Send) -> None:
    await HTMLResponse('<!doctype html><html lang="en"><title>Partner</title><h1>Welcome back</h1>')(
        scope, receive, send
    )


@dataclass(frozen=True)
class Site:
    """The service and a partner's landing page, each under an address of its own."""

    url: str
    landing_url: str


@pytest.fixture
async def site(house: House) -> AsyncIterator[Site]:
    # Another host than the landing page's, so that it is another site.
    async with served(landing_page, "127.0.0.1") as landing, served(house.entrance(), "localhost") as url:
        yield Site(url, f"{landing}/welcome?from=here")


async def partner_of(house: House, site: Site) -> Partner:
    """A partner whose landing page is really there: plain http, as only development has it."""
    partner = await Partner.of(house)
    async with house.register.database.transaction() as connection:
        await connection.execute(
            update(clients).where(clients.c.client_id == partner.client_id).values(landing_url=site.landing_url)
        )
    return partner


async def fill_in(page: Page, email: str, language: str) -> None:
    first, last, address, password, terms = LABELS[language]
    await page.get_by_label(first).fill("Greta")
    await page.get_by_label(last).fill("Garten")
    await page.get_by_label(address).fill(email)
    await page.get_by_label(password, exact=True).fill(GOOD_PASSWORD)
    await page.get_by_label(terms).check()
    await page.get_by_label(PRIVACY[language]).check()


async def opened(browser: Browser, language: str, *, script: bool = True, **options: object) -> BrowserContext:
    locale = {"en": "en-GB", "de": "de-DE"}[language]
    return await browser.new_context(locale=locale, java_script_enabled=script, **options)  # type: ignore[arg-type]  # playwright's own names


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("language", ["en", "de"])
async def test_a_person_registers_and_lands_at_the_partner(
    house: House, site: Site, browser: Browser, language: str, script: bool
) -> None:
    """Chromium holds a form's `form-action` against the redirect to the partner: the page must name none."""
    partner = await partner_of(house, site)
    codes = await partner.codes("greta@example.com")
    context = await opened(browser, language, script=script)
    page = await context.new_page()
    await page.goto(f"{site.url}/registrieren/?registerCode={codes['registerCode']}")
    await fill_in(page, house.address("greta"), language)
    await page.get_by_role("button", name=SUBMIT[language]).click()
    await page.get_by_role("heading", name="Welcome back").wait_for()
    carried = parse_qs(urlsplit(page.url).query)
    assert carried["from"] == ["here"]
    assert carried["authorizationCode"] == [codes["authorizationCode"]]
    assert set(await partner.events()) == set(carried["userId"])
    await page.goto(f"{site.url}/account")
    await page.get_by_text("Greta").first.wait_for()
    await context.close()


@pytest.mark.parametrize("script", [True, False])
async def test_a_signed_in_person_links_sees_the_partner_and_unlinks(
    house: House, site: Site, browser: Browser, script: bool
) -> None:
    partner = await partner_of(house, site)
    codes = await partner.codes()
    email = await house.user("erika")
    context = await opened(browser, "en", script=script)
    page = await context.new_page()
    await page.goto(f"{site.url}/register/?registerCode={codes['registerCode']}")
    await page.get_by_role("link", name="Sign in and link it").click()
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Link", exact=True).click()
    await page.get_by_role("heading", name="Welcome back").wait_for()
    await page.goto(f"{site.url}/account")
    await page.get_by_role("link", name="Remove the link with Test").click()
    await page.get_by_role("button", name="Remove the link").click()
    await page.get_by_text("The link has been removed.").wait_for()
    await page.get_by_text("You are not linked with any partner.").wait_for()
    assert "removalDates" in (await partner.events())["erika"]
    await context.close()


async def test_the_form_is_filled_in_and_sent_with_the_keyboard_alone(
    house: House, site: Site, browser: Browser
) -> None:
    partner = await partner_of(house, site)
    context = await opened(browser, "en")
    page = await context.new_page()
    await page.goto(f"{site.url}/register/?registerCode={(await partner.codes())['registerCode']}")
    await page.get_by_label("First name").focus()
    for typed in ("Greta", "Garten", house.address("greta")):
        await page.keyboard.type(typed)
        await page.keyboard.press("Tab")
    await page.keyboard.type("only 14 letter")
    await page.get_by_text("Too short: 1 more to go.").wait_for()
    await page.keyboard.type("s, and then many more")
    await page.get_by_text("Good length.").wait_for()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.get_by_label("Choose a password", exact=True).get_attribute("type") == "text"
    # From the button to the first box, over the link to its document, to the second.
    for key in ("Tab", "Space", "Tab", "Tab", "Space"):
        await page.keyboard.press(key)
    await page.get_by_label("Choose a password", exact=True).press("Enter")
    await page.get_by_role("heading", name="Welcome back").wait_for()
    await context.close()


@pytest.mark.parametrize(("language", "scheme", "size"), [("en", "light", DESKTOP), ("de", "dark", PHONE)])
async def test_every_page_is_accessible_and_fits_the_screen(
    house: House, site: Site, browser: Browser, language: str, scheme: str, size: dict[str, int]
) -> None:
    partner = await partner_of(house, site)
    name = f"{language}-{size['width']}-{scheme}"
    # The policy is passed over for axe alone, which is put into the page.
    context = await opened(browser, language, viewport=size, color_scheme=scheme, bypass_csp=True)
    page = await context.new_page()

    async def look(what: str) -> None:
        await photograph(page, PICTURES / f"{what}-{name}.png")
        await check_accessible(page, what)
        small = await page.evaluate(
            "[...document.querySelectorAll('a, button, input:not([type=hidden])')]"
            ".filter(e => !e.classList.contains('skip') && e.offsetParent !== null)"
            ".filter(e => { const box = e.getBoundingClientRect(); return box.width < 24 || box.height < 24 })"
            ".map(e => e.outerHTML)"
        )
        assert small == [], f"{what}: too small to press: {small}"

    codes = await partner.codes("greta@a-company-with-quite-a-long-name.example.com")
    await page.goto(f"{site.url}/registrieren/?registerCode={codes['registerCode']}")
    await look("register")
    await page.get_by_role("button", name=SUBMIT[language]).click()
    await page.get_by_role("alert").wait_for()
    await look("register-mistakes")
    await page.goto(f"{site.url}/register/terms")
    await look("terms")
    await page.goto(f"{site.url}/register/privacy")
    await look("privacy")
    await page.goto(f"{site.url}/registrieren/?registerCode=nonsense")
    await look("code-unknown")
    await page.goto(f"{site.url}/registrieren/?registerCode={codes['registerCode']}")
    await fill_in(page, house.address("greta"), language)
    await look("register-filled")
    await page.get_by_role("button", name=SUBMIT[language]).click()
    await page.get_by_role("heading", name="Welcome back").wait_for()
    await page.goto(f"{site.url}/account")
    await look("account")
    for path in ("/account/password", "/account/delete", f"/account/unlink?partner={partner.client_id}"):
        await page.goto(f"{site.url}{path}")
        await look(path.partition("?")[0].strip("/").replace("/", "-"))
    await page.goto(f"{site.url}/registrieren/?registerCode={(await partner.codes())['registerCode']}")
    await look("link-question")
    await page.goto(f"{site.url}/register/confirm/{house.tenant}/{'0' * 32}")
    await look("confirm")
    await context.close()
