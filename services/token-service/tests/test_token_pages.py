"""The pages: who may see them, both languages, no script, and how they do in a real Chromium."""

import asyncio
import csv
import io
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from playwright.async_api import Browser, async_playwright
from shared.web.languages import LANGUAGES, load_texts
from starlette.types import ASGIApp
from token_service.app import create_app

from .campaign_house import OFFER, ORDER, FakeSessions, House, flipped
from .conftest import MakeSettings

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SWITCHES += ("--disable-component-update", "--disable-sync")
PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 900}
HISTORY = """
INSERT INTO token_service.campaign_counts (tenant, campaign_id, hour, event, detail, count)
SELECT :tenant, 'spring', date_trunc('hour', now()) - make_interval(hours => back), event, detail,
       greatest(1, (scale * (30 - back / 24) * (1 + abs(sin(back)))) :: bigint)
  FROM generate_series(7, 720, 11) AS back,
       (VALUES ('issued', '', 40.0), ('opened', 'person', 9.0), ('distinct', '', 4.0), ('verified', 'person', 6.0),
               ('verified', 'bot', 2.0), ('verified', 'scanner', 1.5), ('refused', 'token_expired', 0.4),
               ('refused', 'token_used_up', 0.9), ('refused', 'token_revoked', 0.1)) AS kinds (event, detail, scale)
    ON CONFLICT DO NOTHING
"""


def test_both_languages_say_the_same_things() -> None:
    texts = load_texts("shared.web", "token_service.pages")
    keys = {language: set(texts[language].by_key) for language in LANGUAGES}
    assert keys["en"] == keys["de"]
    for key, english in texts["en"].by_key.items():
        fields = {part.split("}")[0] for part in english.split("{")[1:]}
        german = {part.split("}")[0] for part in texts["de"].by_key[key].split("{")[1:]}
        assert fields == german, key


async def test_nobody_signed_in_is_sent_to_sign_in_and_back(house: House) -> None:
    for path in ("/campaigns", "/campaigns/spring?bucket=hour", "/campaigns/a/b%20c"):
        for headers in ({}, {"Cookie": "__Host-session=unknown"}):
            answer = await house.client.get(path, headers=headers)
            assert answer.status_code == 303
            location = urlsplit(answer.headers["location"])
            # A path alone: a person who came by https is not sent to a sign-in page over http.
            assert (location.scheme, location.netloc, location.path) == ("", "", "/login")
            assert parse_qs(location.query)["next"] == [path]


async def test_the_page_is_for_the_tenants_admins(house: House, sessions: FakeSessions) -> None:
    await house.issue()
    user = sessions.add("user", house.tenant, "user")
    answer = await house.client.get("/campaigns/spring", headers=user | {"Accept-Language": "de"})
    assert answer.status_code == 403
    assert "gehört nicht zur Administration" in answer.text
    stranger = sessions.add("stranger", f"{house.tenant}-x", "tenant_admin")
    assert (await house.client.get("/campaigns/spring", headers=stranger)).status_code == 404
    sessions.is_down = True
    down = await house.client.get("/campaigns/spring", headers=sessions.add("admin", house.tenant, "tenant_admin"))
    assert down.status_code == 503
    assert down.headers["content-type"].startswith("text/html")


async def test_campaigns_are_found_by_their_names_and_the_newest_come_first(
    house: House, sessions: FakeSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("token_service.campaigns.pages._LISTED", 2)
    admin = sessions.add("admin", house.tenant, "tenant_admin") | {"Accept-Language": "en"}
    for name in ("Spring 1", "autumn 50%", "spring 2", "winter"):
        await house.issue(campaign_id=name)

    async def listed(path: str) -> tuple[list[str], str]:
        page = await house.client.get(path, headers=admin)
        assert page.status_code == 200
        return [unquote(name) for name in re.findall(r'href="/campaigns/([^"]+)"', page.text)], page.text

    names, text = await listed("/campaigns")
    assert names == ["winter", "spring 2"]
    following = unescape(re.findall(r'href="(/campaigns\?cursor=[^"]+)"', text)[0])
    names, text = await listed(following)
    assert names == ["autumn 50%", "Spring 1"]
    assert 'href="/campaigns"' in text
    assert (await listed("/campaigns?q=SPRING"))[0] == ["spring 2", "Spring 1"]
    assert (await listed("/campaigns?q=50%25"))[0] == ["autumn 50%"]
    assert "No campaign has this in its name" in (await listed("/campaigns?q=_"))[1]


async def test_the_page_says_what_the_statistics_say(house: House, sessions: FakeSessions) -> None:
    admin = sessions.add("admin", house.tenant, "tenant_admin")
    orders = [ORDER | {"max_uses": 1}] * 1234
    issued = await house.client.post("/v1/tokens/batch", json=orders, headers=house.headers)
    tokens = [each["token"] for each in issued.json()[:3]]
    for token in tokens:
        await house.verify(token)
        await house.verify(token)
    await house.verify(flipped(tokens[0], 7))
    for language, number, reason in (("en", "1,234", "Used up"), ("de", "1.234", "Aufgebraucht")):
        page = await house.client.get("/campaigns/spring", headers=admin | {"Accept-Language": language})
        assert page.status_code == 200
        assert number in page.text
        assert reason in page.text
        assert page.text.count("<svg") >= 3
        assert "<script" not in page.text
        assert page.headers["content-language"] == language
    switched = await house.client.get("/campaigns/spring?lang=de", headers=admin)
    assert "lang=de" in switched.headers["set-cookie"]
    assert "HttpOnly" in switched.headers["set-cookie"]


async def test_counts_as_csv(house: House, sessions: FakeSessions) -> None:
    admin = sessions.add("admin", house.tenant, "tenant_admin")
    token = await house.issue(max_uses=1)
    for _ in range(3):
        await house.verify(token)
    answer = await house.client.get("/campaigns/spring?format=csv&bucket=hour", headers=admin)
    assert answer.headers["content-type"].startswith("text/csv")
    assert 'filename="spring-hour.csv"' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row.pop("start").endswith(":00:00.000Z")
    assert row == {
        "issued": "1",
        "opened": "0",
        "reached": "1",
        "person": "1",
        "bot": "0",
        "scanner": "0",
        "refused": "2",
        "refused.token_used_up": "2",
    }


@pytest.mark.parametrize("path", ["/campaigns/unknown", "/campaigns/spring?bucket=week", "/campaigns?cursor=%00"])
async def test_pages_that_cannot_be(house: House, sessions: FakeSessions, path: str) -> None:
    await house.issue()
    answer = await house.client.get(path, headers=sessions.add("admin", house.tenant, "tenant_admin"))
    assert answer.status_code in {400, 404}
    assert answer.headers["content-type"].startswith("text/html")


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The app on a free port; its lifespan is somebody else's."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://localhost:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        await browser.close()


async def _violations(page: object) -> list[str]:
    found = await Axe().run(page)
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found.response["violations"]]


async def test_every_page_in_chromium_without_script_on_phone_and_desktop(
    make_settings: MakeSettings,
    register: FakeRegister,
    sessions: FakeSessions,
    campaign: dict[str, str],
    tenant: str,
    browser: Browser,
) -> None:
    """Accessible (axe), nowhere wider than the screen, nothing blocked by the page's own policy."""
    app = create_app(make_settings(), register=register, onboarding_transport=sessions.transport())
    pictures = os.environ.get("TOKEN_PAGES_PICTURES")
    async with running(app) as client, served(app) as url:
        house = House(app, client, campaign, tenant)
        offer = OFFER | {"destination_url": f"{url}/healthz"}
        await client.put("/v1/campaigns/spring/landing", json=offer, headers=campaign)
        token = await house.issue(base_url=f"{url}/t", max_uses=1)
        await house.issue(campaign_id="autumn-of-a-very-long-campaign-name-that-nobody-would-choose-but-somebody-will")
        await house.execute(HISTORY, tenant=tenant)
        await client.delete("/v1/campaigns/spring/tokens", headers=campaign)
        token = await house.issue(base_url=f"{url}/t", max_uses=1)
        admin = sessions.add("admin", tenant, "tenant_admin")
        session = admin["Cookie"].partition("=")[2]
        troubles: list[str] = []
        day, hour = ("campaign-day", "/campaigns/spring"), ("campaign-hour", "/campaigns/spring?bucket=hour")
        list_, offer_page = ("campaigns", "/campaigns"), ("offer", f"/t/{token}")
        refused = ("refused", f"/t/{flipped(token, 4)}")
        for language, viewport, scheme, shown in (
            ("en-GB", DESKTOP, "light", (list_, day, hour, offer_page)),
            ("de-DE", PHONE, "dark", (list_, day, offer_page, refused)),
        ):
            context = await browser.new_context(
                locale=language,
                viewport=viewport,  # type: ignore[arg-type]
                color_scheme=scheme,  # type: ignore[arg-type]
                # For axe, which is put into the page; what the policy lets through is looked at below.
                bypass_csp=True,
            )
            await context.add_cookies([{"name": "session", "value": session, "url": url}])
            page = await context.new_page()
            for name, path in shown:
                answer = await page.goto(url + path)
                assert answer is not None
                assert answer.status == (403 if name == "refused" else 200), name
                if pictures is not None:
                    await page.screenshot(path=Path(pictures) / f"{name}-{language}.png", full_page=True)
                troubles += [f"{name} {language}: {each}" for each in await _violations(page)]
                width = await page.evaluate("document.documentElement.scrollWidth")
                if width > viewport["width"]:
                    troubles.append(f"{name} {language}: {width} px wide")
            await context.close()
        assert not troubles

        context = await browser.new_context(java_script_enabled=False, locale="en-GB")
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(f"{url}/t/{token}")
        await page.get_by_role("button", name="Show me").click()
        await page.wait_for_url(f"{url}/healthz")
        await page.go_back()
        await page.get_by_role("link", name="Deutsch").click()
        await page.get_by_role("heading", name="Dieser Link wurde schon benutzt").wait_for()
        assert not [text for text in complaints if "Content Security Policy" in text]
        await context.close()


async def test_the_browser_obeys_the_pages_policy(
    make_settings: MakeSettings,
    register: FakeRegister,
    sessions: FakeSessions,
    campaign: dict[str, str],
    tenant: str,
    browser: Browser,
) -> None:
    app = create_app(make_settings(), register=register, onboarding_transport=sessions.transport())
    async with running(app) as client, served(app) as url:
        house = House(app, client, campaign, tenant)
        await house.verify(await house.issue())
        session = sessions.add("admin", tenant, "tenant_admin")["Cookie"].partition("=")[2]
        context = await browser.new_context(locale="en-GB")
        await context.add_cookies([{"name": "session", "value": session, "url": url}])
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        answer = await page.goto(f"{url}/campaigns/spring")
        assert answer is not None
        assert answer.status == 200
        assert await page.evaluate("getComputedStyle(document.querySelector('.sums')).display") == "grid"
        assert not [text for text in complaints if "Content Security Policy" in text]
        await context.close()
