"""The operators' pages about people and clients, and the page of one's own name, in a real Chromium.

With `TEST_PICTURES=1`, what the pages look like is kept in `test-artefacts/`, to be looked at.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from .chromium import check_accessible, photograph, served
from .onboarding_house import PASSWORD, House

PICTURES = Path("test-artefacts/operators")
WORDS = {
    "en": {
        "sign_in": "Sign in",
        "email": "E-mail address",
        "password": "Password",
        "lock": "Lock the account",
        "lock_now": "Lock now",
        "locked": "The account is locked",
        "edit": "Change",
        "name": "Name",
        "look": "Show the change",
        "confirm": "Change now",
        "changed": "The client is changed.",
        "save": "Save",
        "end": "End secret 1 now",
    },
    "de": {
        "sign_in": "Anmelden",
        "email": "E-Mail-Adresse",
        "password": "Passwort",
        "lock": "Konto sperren",
        "lock_now": "Jetzt sperren",
        "locked": "Das Konto ist gesperrt",
        "edit": "Ändern",
        "name": "Name",
        "look": "Änderung ansehen",
        "confirm": "Jetzt ändern",
        "changed": "Der Client ist geändert.",
        "save": "Speichern",
        "end": "Secret 1 jetzt beenden",
    },
}


@pytest.fixture
async def site(house: House) -> AsyncIterator[str]:
    async with served(house.entrance(), "localhost") as url:
        yield url


@pytest.mark.parametrize(
    ("language", "scheme", "width"), [("en", "light", 1280), ("de", "dark", 390), ("de", "light", 1280)]
)
async def test_operators_decide_about_people_and_clients_with_pages_that_are_accessible(
    house: House, site: str, browser: Browser, language: str, scheme: str, width: int
) -> None:
    words = WORDS[language]
    await house.user("olga", roles=["operator"], firstname="Olga", lastname="Ohnesorg-Wolkenstein von Hohenfels")
    await house.user("timo", roles=["tenant_admin"], firstname="Timo", lastname="Tafel")
    client_id, _ = await house.client("points:read", ip_allow_list=("192.0.2.0/24",))
    email = await house.user("boss", roles=["operator"], firstname="Bea", lastname="Boss")
    context = await browser.new_context(
        locale=language,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 900},
        bypass_csp=True,  # for axe alone, which is put into the page
    )
    page = await context.new_page()

    async def look(what: str) -> None:
        await photograph(page, PICTURES / f"{what}-{language}-{scheme}-{width}.png")
        await check_accessible(page, what)

    await page.goto(f"{site}/login?next=%2Foperations%2Fpeople&lang={language}")
    await page.get_by_label(words["email"]).fill(email)
    await page.get_by_label(words["password"], exact=True).fill(PASSWORD)
    await page.get_by_role("button", name=words["sign_in"]).click()
    await page.get_by_role("link", name="Olga").wait_for()
    await look("people")
    await page.get_by_role("link", name="Olga").click()
    await page.get_by_text(words["lock"], exact=True).click()
    await look("person")
    await page.get_by_role("button", name=words["lock_now"]).click()
    await page.get_by_role("status").get_by_text(words["locked"]).wait_for()
    await look("person-locked")
    await _change_client(page, site, client_id, words, look)
    await page.goto(f"{site}/operations/audit")
    await look("audit")
    await page.goto(f"{site}/account/profile")
    await page.get_by_role("button", name=words["save"]).click()
    await page.get_by_role("alert").wait_for()
    await look("profile-with-mistakes")
    await context.close()


async def _change_client(
    page: Page, site: str, client_id: str, words: dict[str, str], look: Callable[[str], Awaitable[None]]
) -> None:
    await page.goto(f"{site}/operations/clients/{client_id}")
    await page.get_by_label(words["end"]).first.click()
    await look("client")
    await page.get_by_role("link", name=words["edit"], exact=True).click()
    await look("client-form")
    await page.get_by_label(words["name"], exact=True).fill("Order insights")
    await page.get_by_role("button", name=words["look"]).click()
    await page.get_by_role("button", name=words["confirm"]).wait_for()
    await look("client-change")
    await page.get_by_role("button", name=words["confirm"]).click()
    await page.get_by_role("status").get_by_text(words["changed"]).wait_for()
    await page.goto(f"{site}/operations/clients")
    await look("clients")
    await page.goto(f"{site}/operations/new-client")
    await look("new-client")
