"""A person at a browser: signs in, goes to the shop, buys. What pages are asked is what a person sees."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from .running_platform import Customer, RunningPlatform

VENDOR = "Rewards shop"
#: What the pages call things, by language.
WORDS = {
    "en": {
        "email": "E-mail address",
        "password": "Password",
        "sign_in": "Sign in",
        "sign_out": "Sign out",
        "signed_out": "You have signed out.",
        "greeting": "Hello, {name}",
        "redeem": "Redeem points at {vendor}",
        "shop_greeting": "Hello {name},",
        "fulfilled": "It’s yours!",
        "out_of_stock": "Sadly sold out",
        "too_dear": "Not quite enough points yet",
        "back": "Back to the platform",
        "used": "This link has been used already",
    },
    "de": {
        "email": "E-Mail-Adresse",
        "password": "Passwort",
        "sign_in": "Anmelden",
        "sign_out": "Abmelden",
        "signed_out": "Sie haben sich abgemeldet.",
        "greeting": "Guten Tag, {name}",
        "redeem": "Punkte einlösen bei {vendor}",
        "shop_greeting": "Hallo {name},",
        "fulfilled": "Viel Freude damit!",
        "out_of_stock": "Leider ausverkauft",
        "too_dear": "Noch nicht genug Punkte",
        "back": "Zurück zur Plattform",
        "used": "Dieser Link wurde schon benutzt",
    },
}
LOCALES = {"en": "en-GB", "de": "de-DE"}


def number(value: int, language: str) -> str:
    """1,250 in English, 1.250 in German."""
    return f"{value:,}" if language == "en" else f"{value:,}".replace(",", ".")


class Visitor:
    """One browser profile with one page. `troubles` is what its console complained about."""

    def __init__(self, context: BrowserContext, page: Page, platform: RunningPlatform, language: str) -> None:
        self.context = context
        self.page = page
        self.words = WORDS[language]
        self.language = language
        self.troubles: list[str] = []
        self.requests: list[Request] = []
        self._platform = platform
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(message.text)

    async def sign_in(self, email: str, password: str) -> None:
        """Fills in the sign-in form of the present page."""
        await self.page.get_by_label(self.words["email"]).fill(email)
        await self.page.get_by_label(self.words["password"], exact=True).fill(password)
        await self.page.get_by_role("button", name=self.words["sign_in"]).click()

    async def open_account(self, customer: Customer, gateway: str | None = None) -> None:
        """To the account page, over the sign-in page to which it leads."""
        await self.page.goto(f"{gateway or self._platform.gateway}/account")
        await self.sign_in(customer.email, customer.password)
        await self.sees_account(customer.firstname)

    async def sees_account(self, firstname: str) -> None:
        greeting = self.words["greeting"].format(name=firstname)
        await expect(self.page.get_by_role("heading", name=greeting)).to_be_visible()

    async def sees_points(self, points: int) -> None:
        """On the account page."""
        await expect(self.page.locator("[data-points]")).to_have_text(number(points, self.language))

    async def press_redeem(self) -> None:
        await self.page.get_by_role("button", name=self.words["redeem"].format(vendor=VENDOR)).click()

    async def sees_shop(self, firstname: str, points: int) -> None:
        """The catalogue, greeting by name, with the balance; and no token in sight."""
        await expect(self.page.get_by_test_id("greeting")).to_have_text(
            self.words["shop_greeting"].format(name=firstname)
        )
        await expect(self.page.get_by_test_id("balance")).to_have_text(number(points, self.language))
        assert self.page.url == f"{self._platform.shop}/"

    async def buy(self, reward_id: str, outcome: str, points_afterwards: int) -> None:
        """Presses a reward's button in the catalogue; `outcome` names what the order's page must say."""
        await self.page.get_by_test_id(f"buy-{reward_id}").click()
        await self.page.get_by_test_id("confirm").click()
        await expect(self.page.get_by_role("heading", name=self.words[outcome])).to_be_visible()
        await expect(self.page.get_by_test_id("balance")).to_have_text(number(points_afterwards, self.language))

    async def steps(self) -> list[tuple[str | None, str | None]]:
        """What the order's page tells of its way: (step, result)."""
        shown = await self.page.get_by_test_id("steps").get_by_role("listitem").all()
        return [(await one.get_attribute("data-step"), await one.get_attribute("data-result")) for one in shown]

    async def sees_problem(self, code: str) -> None:
        """The shop's page for what went wrong."""
        await expect(self.page.get_by_test_id("problem")).to_have_attribute("data-code", code)

    def redeem_links(self) -> list[str]:
        """Addresses with a token to which the browser was sent."""
        return [request.url for request in self.requests if "token=" in (urlsplit(request.url).query or "")]


@asynccontextmanager
async def visiting(
    browser: Browser, platform: RunningPlatform, language: str = "en", **options: Any
) -> AsyncIterator[Visitor]:
    """Somebody with a fresh browser. The gateway's own authority is not installed in it: see `options`."""
    context = await browser.new_context(locale=LOCALES[language], ignore_https_errors=True, **options)
    try:
        visitor = Visitor(context, await context.new_page(), platform, language)
        visitor.page.set_default_timeout(60_000)
        yield visitor
    finally:
        await context.close()
