"""The pages for developers in a real browser: for people with bad sight, on a phone, and calls sent from them."""

from typing import Literal

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from .browsing import visiting
from .running_platform import RunningPlatform

#: A page with tables, one with samples, a German one, a long one, and a reference.
PAGES = ("", "/vendors.html", "/errors.html", "/sandbox-deutsch.html", "/codes", "/reference/vendor.html")
#: The theme's buttons that copy code stand in landmarks of one name; each has the text that it copies beside it.
LEFT_OUT = "landmark-unique"


async def open_page(page: Page, address: str) -> None:
    await page.goto(address)
    await page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_read_the_pages(
    platform: RunningPlatform, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    async with visiting(browser, platform, color_scheme=scheme) as visitor:
        for path in PAGES:
            await open_page(visitor.page, f"{platform.gateway}/developers{path}")
            found = (await Axe().run(visitor.page)).response["violations"]
            assert [(path, one["id"], one["nodes"][0]["html"]) for one in found if one["id"] != LEFT_OUT] == []


async def test_every_page_of_the_menu_is_there_fits_a_phone_and_asks_no_stranger(
    platform: RunningPlatform, browser: Browser
) -> None:
    async with visiting(browser, platform, viewport={"width": 375, "height": 800}) as visitor:
        page = visitor.page
        await open_page(page, f"{platform.gateway}/developers")
        links = await page.locator(".md-nav--primary a[href]").evaluate_all("all => all.map(a => a.href.split('#')[0])")
        expected = ("inspect", "test-client", "codes.html")
        assert {f"{platform.gateway}/developers/{name}" for name in expected} <= {*links}
        for link in dict.fromkeys(links):
            answer = await page.goto(link)
            assert answer is not None
            assert (link, answer.status) == (link, 200)
            assert (link, await page.evaluate("document.documentElement.scrollWidth")) == (link, 375)
        own = (platform.gateway, "data:", "blob:")
        assert [one.url for one in visitor.requests if not one.url.startswith(own)] == []
        assert visitor.troubles == []


async def test_the_header_covers_no_operation_that_is_scrolled_to(platform: RunningPlatform, browser: Browser) -> None:
    async with visiting(browser, platform, viewport={"width": 1280, "height": 700}) as visitor:
        await open_page(visitor.page, f"{platform.gateway}/developers/reference/vendor.html")
        header = await visitor.page.locator(".md-header").bounding_box()
        operation = visitor.page.frame_locator("iframe").locator(".opblock-summary-control").nth(4)
        await operation.evaluate("operation => operation.scrollIntoView()")
        place = await operation.bounding_box()
        assert header is not None
        assert place is not None
        assert place["y"] >= header["y"] + header["height"]


async def test_a_phone_shows_the_whole_name_in_header_and_menu(platform: RunningPlatform, browser: Browser) -> None:
    async with visiting(browser, platform, viewport={"width": 375, "height": 760}) as visitor:
        page = visitor.page
        await open_page(page, f"{platform.gateway}/developers")
        await page.locator("label.md-header__button[for=__drawer]").click()
        for name in (".md-header__topic .md-ellipsis", ".md-nav--primary > .md-nav__title"):
            shown = page.locator(name).first
            await expect(shown).to_contain_text("Points platform for developers")
            assert await shown.evaluate("shown => shown.scrollWidth <= shown.clientWidth"), name


@pytest.mark.parametrize("path", ["inspect", "test-client"])
async def test_from_a_page_of_a_service_one_comes_back(platform: RunningPlatform, browser: Browser, path: str) -> None:
    async with visiting(browser, platform, "de") as visitor:
        await visitor.page.goto(f"{platform.gateway}/developers/{path}")
        await visitor.page.get_by_role("link", name="Zurück zu den Seiten für Entwickler").click()
        await expect(visitor.page).to_have_title("Points platform for developers")


async def test_a_client_made_on_the_page_tries_all_that_a_vendor_does(
    platform: RunningPlatform, http: httpx.AsyncClient, browser: Browser
) -> None:
    async with visiting(browser, platform) as visitor:
        await visitor.page.goto(f"{platform.gateway}/developers/test-client")
        await visitor.page.get_by_role("button", name="Make a client").click()
        shown = [await visitor.page.locator(f"#{name}").inner_text() for name in ("client_id", "client_secret")]
    client_id, auth = shown[0], (shown[0], shown[1])
    order = {"user_id": "user-1", "vendor_id": client_id}
    issued = await http.post("/sso/v1/redirects", json=order, auth=auth)
    assert issued.status_code == 201, issued.text
    token = {"token": issued.json()["token"]}
    inspected = await http.post("/sso/v1/inspect", json=token, auth=auth)
    assert (inspected.status_code, inspected.json()["verdict"]) == (200, "good")
    redeemed = await http.post("/sso/v1/tokens/redeem", json=token, auth=auth)
    assert (redeemed.status_code, redeemed.json().get("userid")) == (200, "user-1")
    examples = await http.get(f"/sso/v1/vendors/{client_id}/examples", auth=auth)
    assert {one["expect"] for one in examples.json()["examples"]} == {"accept", "refuse"}
    held = {"userid": "user-1", "transactionid": f"{client_id}-1", "pointstodeduct": 1, "description": "a mug"}
    assert (await http.post("/eai/v1/points?commit", json=held, auth=auth)).status_code == 200
    elsewhere = order | {"vendor_id": platform.description["sandbox"]["clients"]["vendor"]["client_id"]}
    assert (await http.post("/sso/v1/redirects", json=elsewhere, auth=auth)).json()["code"] == "vendor_not_found"


async def test_german_pages_say_that_they_are_german(platform: RunningPlatform, http: httpx.AsyncClient) -> None:
    for page, language in (("sandbox", "en"), ("sandbox-deutsch", "de"), ("partner-deutsch", "de")):
        assert f'<html lang="{language}"' in (await http.get(f"/developers/{page}.html")).text


async def test_a_reader_holds_points_in_the_sandbox_from_the_reference(
    platform: RunningPlatform, browser: Browser
) -> None:
    sandbox = platform.description["sandbox"]
    vendor = sandbox["clients"]["vendor"]
    user = sandbox["users"][0]["user_id"]
    async with visiting(browser, platform) as visitor:
        await open_page(visitor.page, f"{platform.gateway}/developers/reference/vendor.html")
        reference = visitor.page.frame_locator("iframe")
        await reference.get_by_role("button", name="Authorize").first.click()
        dialog = reference.locator(".dialog-ux")
        await dialog.get_by_label("Username").fill(vendor["client_id"])
        await dialog.get_by_label("Password").fill(vendor["client_secret"])
        await dialog.get_by_role("button", name="Apply credentials").first.click()
        await dialog.get_by_role("button", name="Close").first.click()
        operation = reference.locator("#operations-EAI-change_points")
        # By the keyboard: the page's header stays above what is scrolled to.
        await operation.locator(".opblock-summary-control").press("Enter")
        await operation.locator("tr[data-param-name=commit] select").select_option("1")
        body = f'{{"userid": "{user}", "transactionid": "tried-1", "pointstodeduct": 5, "description": "a pen"}}'
        await operation.locator("textarea.body-param__text").fill(body)
        await operation.get_by_role("button", name="Execute").press("Enter")
        answer = operation.locator(".live-responses-table .response").first
        await expect(answer.locator(".response-col_status")).to_have_text("200")
        await expect(answer).to_contain_text('"state": "held"')
    async with httpx.AsyncClient(base_url=platform.gateway, trust_env=False) as http:
        auth = (vendor["client_id"], vendor["client_secret"])
        found = (await http.get("/eai/v1/points/tried-1", auth=auth)).json()
    assert (found["state"], found["points"]) == ("held", 5)
