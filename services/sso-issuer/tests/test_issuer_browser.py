"""Redirects for a browser: only for who is signed in, only from our own pages, and usable without scripts."""

import asyncio
import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import World, claims_of, verify_independently
from platform_testing.serving import PUBLIC_URL
from sso_issuer.tables import issuances
from starlette.responses import Response

FRONT_END = "https://app.example"
JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
HERE = {"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC_URL}


class _Form(HTMLParser):
    """What a browser without scripts sees, but for the frame around it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = self.method = self.language = ""
        self.fields: dict[str, str] = {}
        self.buttons = 0
        self.feed(html[: html.index("<head")] + html[html.index("<main") : html.index("</main>")])

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "html":
            self.language = found["lang"]
        elif tag == "form":
            self.action, self.method = found["action"], found["method"]
        elif tag == "input":
            self.fields[found["name"]] = found["value"]
        elif tag == "button":
            self.buttons += 1


async def _issued(world: World) -> int:
    async with world.database.connect() as connection:
        query = sa.select(sa.func.count()).select_from(issuances).where(issuances.c.tenant == world.tenant)
        return int((await connection.execute(query)).scalar_one())


async def test_a_button_leads_a_signed_in_user_to_the_vendor(world: World) -> None:
    await world.put_vendor(redirect_url="https://shop.example/redeem?lang=de;x")
    answer = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in() | HTML | HERE)
    assert answer.status_code == 303
    address, _, token = answer.headers["location"].partition("&token=")
    assert address == "https://shop.example/redeem?lang=de;x"
    assert claims_of(token)["userid"] == world.user_id
    verify_independently(token, (await world.jwks())[0])
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    listed = await world.client.get("/sso/v1/issuances", headers=world.admin)
    assert listed.json()["issuances"][0]["client_id"] is None


async def test_a_form_is_posted_with_and_without_scripts(world: World) -> None:
    await world.put_vendor(delivery="form_post", redirect_url="https://shop.example/r?a=1&b=%22", name='"Shop" <b>')
    answer = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in() | HTML | HERE)
    assert answer.status_code == 200
    form = _Form(answer.text)
    assert (form.method, form.action, form.buttons) == ("post", "https://shop.example/r?a=1&b=%22", 1)
    assert claims_of(form.fields["token"])["userid"] == world.user_id
    assert "<b>" not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_the_page_runs_its_one_script_and_nothing_else(world: World) -> None:
    await world.put_vendor(delivery="form_post")
    answer = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in() | HTML | HERE)
    policy = dict(part.partition(" ")[::2] for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "https://shop.example https:"
    (content,) = re.findall("<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    assert policy["script-src"] == f"'sha256-{digest}'"
    assert (answer.text.count("<script"), answer.text.count("<style")) == (1, 0)
    (style,) = re.findall('<link rel="stylesheet" href="(/[^"]*)">', answer.text)
    assert policy["style-src"] == "'self'"
    assert (await world.client.get(style)).headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("delivery", ["query", "form_post"])
async def test_a_button_that_is_pressed_twice_sends_one_token(world: World, delivery: str) -> None:
    await world.put_vendor(delivery=delivery)
    session = world.sign_in()
    page = await world.client.get("/sso/v1/redeem/shop", headers=session | HTML)
    fields = _Form(page.text).fields
    assert set(fields) == {"press"}

    async def press(**changed: str) -> httpx.Response:
        return await world.client.post("/sso/v1/redeem/shop", data=fields | changed, headers=session | HTML | HERE)

    first, double = await asyncio.gather(press(), press())
    late = await press()
    assert first.status_code == (303 if delivery == "query" else 200)
    for again in (double, late):
        assert (again.status_code, again.text) == (first.status_code, first.text)
        assert again.headers.get("location") == first.headers.get("location")
        assert again.headers["cache-control"] == "no-store"
    assert await _issued(world) == 1
    other = await press(press="another-press")
    assert (other.headers.get("location"), other.text) != (first.headers.get("location"), first.text)
    stranger = await world.client.post("/sso/v1/redeem/shop", data=fields, headers=HTML | HERE)
    assert stranger.headers["location"].startswith("/login")


async def test_a_front_end_that_asks_for_json_gets_the_back_ends_answer(world: World) -> None:
    await world.put_vendor()
    answer = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in() | JSON | HERE)
    assert answer.status_code == 201
    assert set(answer.json()) == {"vendor_id", "delivery", "url", "fields", "token", "jti", "expires_at"}
    assert claims_of(answer.json()["token"])["userid"] == world.user_id
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, text/plain, */*", True),
        ("application/json;q=0.9, text/html;q=0.5", True),
        ("text/html, application/json;q=0.9", False),
        ("text/html", False),
        ("*/*", False),
        ("application/json;q=0", False),
        ("", False),
    ],
)
async def test_json_is_given_to_who_asks_for_it(world: World, accept: str, is_json: bool) -> None:
    await world.put_vendor()
    headers = world.sign_in() | {"Accept": accept}
    answer = await world.client.post("/sso/v1/redeem/shop", headers=headers)
    assert answer.status_code == (201 if is_json else 303)


async def test_a_front_ends_repetition_with_a_key_gets_the_same_token(world: World) -> None:
    await world.put_vendor()
    world.add_user("user-2")
    headers = JSON | HERE | {"Idempotency-Key": "b-1"}
    mine, theirs = world.sign_in(), world.sign_in("user-2")
    first = await world.client.post("/sso/v1/redeem/shop", headers=mine | headers)
    again = await world.client.post("/sso/v1/redeem/shop", headers=mine | headers)
    other = await world.client.post("/sso/v1/redeem/shop", headers=theirs | headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert claims_of(other.json()["token"])["userid"] == "user-2"


@pytest.mark.parametrize(
    "cookie",
    [{}, {"Cookie": "__Host-session=unknown"}, {"Cookie": "__Host-session="}, {"Cookie": "__Host-session=\xff"}],
)
async def test_who_is_not_signed_in_is_led_to_the_sign_in_page(world: World, cookie: dict[str, str]) -> None:
    await world.put_vendor("shop 1")
    for accept in (HTML, {"Accept": "*/*"}):
        answer = await world.client.post("/sso/v1/redeem/shop%201", headers=_latin(cookie | accept))
        assert answer.status_code == 303
        target = urlsplit(answer.headers["location"])
        # No scheme and no host: a person who came by https is not sent to a sign-in page over http.
        assert (target.scheme, target.netloc, target.path) == ("", "", "/login")
        assert parse_qs(target.query) == {"next": ["/sso/v1/redeem/shop%201"]}
    answer = await world.client.post("/sso/v1/redeem/shop%201", headers=_latin(cookie | JSON))
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
    # `Basic` here would make browsers ask for a password in a window of their own.
    assert answer.headers["www-authenticate"].startswith("Cookie ")


def _latin(headers: dict[str, str]) -> Any:
    return {name: value.encode("latin-1") for name, value in headers.items()}


async def test_after_signing_in_a_click_goes_on(world: World) -> None:
    await world.put_vendor("shop 1", name="Rewards & More")
    back = "/sso/v1/redeem/shop%201"
    signed_out = await world.client.get(back, headers=HTML)
    assert (signed_out.status_code, urlsplit(signed_out.headers["location"]).path) == (303, "/login")
    page = await world.client.get(back, headers=world.sign_in() | HTML)
    assert page.status_code == 200
    form = _Form(page.text)
    assert (form.method, form.action, form.buttons) == ("post", back, 1)
    assert "Rewards &amp; More" in page.text
    assert "<script" not in page.text
    assert await _issued(world) == 0


async def test_pages_speak_german_too(world: World) -> None:
    await world.put_vendor(delivery="form_post")
    headers = world.sign_in() | HTML | HERE | {"Accept-Language": "de-CH, en;q=0.5"}
    page = await world.client.post("/sso/v1/redeem/shop", headers=headers)
    assert _Form(page.text).language == "de"
    assert "Weiter zu Rewards Shop" in page.text


async def test_pages_keep_the_language_that_was_chosen_on_the_way(world: World) -> None:
    await world.put_vendor(delivery="form_post")
    cookies = world.sign_in()["Cookie"]
    headers = HTML | HERE | {"Cookie": f"{cookies}; __Host-lang=de", "Accept-Language": "en-GB"}
    page = await world.client.post("/sso/v1/redeem/shop", headers=headers)
    assert _Form(page.text).language == "de"


async def test_a_person_reads_a_page_when_it_does_not_work(world: World) -> None:
    await world.put_vendor()
    world.ledger.answer = lambda: Response("down", 503)
    headers = world.sign_in() | HERE
    page = await world.client.post("/sso/v1/redeem/shop", headers=headers | HTML | {"X-Request-Id": "ask-me"})
    assert page.status_code == 503
    assert page.headers["retry-after"] == "1"
    assert page.headers["content-type"].startswith("text/html")
    assert "ask-me" in page.text
    problem = await world.client.post("/sso/v1/redeem/shop", headers=headers | JSON)
    assert (problem.status_code, problem.json()["code"]) == (503, "temporarily_unavailable")
    assert (await world.client.post("/sso/v1/redeem/none", headers=headers | HTML)).status_code == 404
    assert (await world.client.get("/sso/v1/redeem/none", headers=headers | HTML)).status_code == 404
    assert (await world.client.post(f"/sso/v1/redeem/{'x' * 200}", headers=headers | HTML)).status_code == 400


async def test_without_the_register_of_sessions_nobody_is_guessed(world: World) -> None:
    await world.put_vendor()
    session = world.sign_in()
    for answer in (Response("down", 502), Response("{}", 404), Response("{}", 200)):
        world.onboarding.answer = lambda answer=answer: answer
        assert (await world.client.post("/sso/v1/redeem/shop", headers=session | JSON)).status_code == 503


# Who may cause a request.

FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.points.example"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "something-new", "Origin": "https://evil.example"},
    # The browser's own word is stronger than a header that repeats our address.
    {"Sec-Fetch-Site": "cross-site", "Origin": PUBLIC_URL},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://points.example.evil.example"},
    {"Origin": "http://points.example"},
    {"Origin": "https://points.example:8443"},
    {"Origin": "https://evil.example", "Referer": f"{PUBLIC_URL}/account"},
    {"Referer": "https://evil.example/?https://points.example"},
    {"Referer": "about:blank"},
    {"Referer": ""},
]

OWN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC_URL},
    # What a page with `no-referrer` sends.
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": PUBLIC_URL},
    {"Origin": f"{PUBLIC_URL}:443"},
    {"Referer": f"{PUBLIC_URL}/account?x=1"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_another_site_cannot_send_anybody_anywhere(world: World, headers: dict[str, str]) -> None:
    await world.put_vendor()
    session = world.sign_in(origins=(FRONT_END,))
    for accept in (JSON, HTML, {"Accept": "*/*"}):
        for cookie in (session, {}):
            answer = await world.client.post("/sso/v1/redeem/shop", headers=cookie | accept | headers)
            assert answer.status_code == 403
            assert "cross_site_request" in answer.text
            assert "access-control-allow-origin" not in answer.headers
    assert await _issued(world) == 0


@pytest.mark.parametrize("headers", OWN)
async def test_our_own_pages_can(world: World, headers: dict[str, str]) -> None:
    await world.put_vendor()
    answer = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in() | JSON | headers)
    assert answer.status_code == 201
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", [None, "same-site", "cross-site"])
async def test_the_tenants_front_end_can(world: World, site: str | None) -> None:
    await world.put_vendor()
    session = world.sign_in(origins=("https://APP.example:443/",))
    headers = JSON | {"Origin": FRONT_END} | ({} if site is None else {"Sec-Fetch-Site": site})
    answer = await world.client.post("/sso/v1/redeem/shop", headers=session | headers)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == FRONT_END
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    assert "Idempotency-Replayed" in answer.headers["access-control-expose-headers"]


async def test_a_front_end_may_read_why_it_did_not_work(world: World) -> None:
    await world.put_vendor()
    session = world.sign_in(origins=(FRONT_END,))
    headers = JSON | {"Origin": FRONT_END, "Sec-Fetch-Site": "same-site"}
    signed_out = await world.client.post("/sso/v1/redeem/shop", headers=headers)
    missing = await world.client.post("/sso/v1/redeem/none", headers=session | headers)
    assert (signed_out.status_code, missing.status_code) == (401, 404)
    for answer in (signed_out, missing):
        assert answer.headers["access-control-allow-origin"] == FRONT_END
        assert answer.headers["access-control-allow-credentials"] == "true"


async def test_another_tenants_front_end_cannot(world: World) -> None:
    await world.put_vendor()
    world.onboarding.sessions["somebody-elses"] = {
        "tenant": "t-stranger-7",
        "user_id": "u",
        "roles": [],
        "allowed_origins": ["https://theirs.example"],
    }
    headers = JSON | {"Origin": "https://theirs.example"}
    answer = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in(origins=(FRONT_END,)) | headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request")


async def test_a_preflight_lets_configured_front_ends_in(world: World) -> None:
    world.sign_in(origins=(FRONT_END,))
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    answer = await world.client.options("/sso/v1/redeem/shop", headers=asked | {"Origin": FRONT_END})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == FRONT_END
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "https://app.example.evil.example"])
async def test_a_preflight_lets_nobody_else_in(world: World, origin: str) -> None:
    world.sign_in(origins=(FRONT_END,))
    answer = await world.client.options("/sso/v1/redeem/shop", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request")
    assert not any(name.startswith("access-control-") for name in answer.headers)
