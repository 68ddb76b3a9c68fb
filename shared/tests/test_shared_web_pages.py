"""What the pages of all services have in common: language, frame, headers, cookies, forms, refusals, static files."""

import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from pydantic import SecretStr, ValidationError
from shared.settings import Mode
from shared.web.forms import MAX_BYTES, MAX_FIELD_CHARACTERS
from shared.web.languages import LANGUAGES, Texts, accepted_language, load_texts

from .sample_house import PACKAGE, House, Settings, client_of, make_house, make_package

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}
MOMENT = datetime(2026, 11, 29, 13, 5, 7, tzinfo=UTC)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    make_package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(PACKAGE, None)


def settings_of(service_keys: ServiceKeys, **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "mode": Mode.DEVELOPMENT,
        "port": 8000,
        "database_url": SecretStr("postgresql://nobody:nothing@127.0.0.1:9/nowhere"),
        "public_url": "http://points.example",
        "service_key": SecretStr(service_keys.private("points-ledger")),
        "service_peers": service_keys.peers,
    }
    return Settings(**(given | changes))


@pytest.fixture
async def house(service_keys: ServiceKeys, package: None) -> House:
    return make_house(settings_of(service_keys))


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(house, "http://points.example") as client:
        yield client


# Languages.


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, None),
        ("", None),
        ("de", "de"),
        ("DE-at", "de"),
        ("de_CH", "de"),
        ("fr, de;q=0.3", "de"),
        ("de;q=0.3, en;q=0.8", "en"),
        ("de, en", "de"),
        ("de;q=0, en;q=0.1", "en"),
        ("de;q=x", None),
        ("de;q=0", None),
        ("*", None),
        (",;q=,de", "de"),
        ("den", None),
        ("fr," * 5000 + "de", None),
    ],
)
def test_the_language_is_the_one_that_is_wanted_most(header: str | None, language: str | None) -> None:
    assert accepted_language(header) == language


async def test_an_address_chooses_a_language_and_the_browser_keeps_it(client: httpx.AsyncClient) -> None:
    german = {"Accept-Language": "de-CH, en;q=0.5"}
    assert (await client.get("/plain")).headers["content-language"] == "en"
    assert (await client.get("/plain", headers=german)).headers["content-language"] == "de"
    chosen = await client.get("/plain?lang=en", headers=german)
    assert chosen.headers["content-language"] == "en"
    assert "httponly" in chosen.headers["set-cookie"].lower()
    assert (await client.get("/plain", headers=german)).headers["content-language"] == "en"
    assert (await client.get("/plain?lang=fr", headers=german)).headers["content-language"] == "en"
    # A page that is there in one language is shown in it, whatever was chosen.
    alone = await client.get("/german")
    assert alone.headers["content-language"] == "de"
    assert 'hreflang="en"' not in alone.text


async def test_the_switch_keeps_what_else_the_address_says(client: httpx.AsyncClient) -> None:
    page = await client.get("/plain?a=1&lang=de&b=%22%26")
    assert 'href="/plain?a=1&amp;b=%22%26&amp;lang=en"' in page.text


def test_all_languages_say_the_same_things(package: None) -> None:
    texts = load_texts("shared.web", PACKAGE)
    assert set(texts["en"].by_key) == set(texts["de"].by_key)
    for key, english in texts["en"].by_key.items():
        assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", texts["de"].by_key[key])), key


@pytest.mark.parametrize(
    ("language", "zone", "written"),
    [
        ("en", "UTC", "29 Nov 2026, 13:05 UTC"),
        ("de", "UTC", "29.11.2026, 13:05 UTC"),
        ("en", "Europe/Berlin", "29 Nov 2026, 14:05 CET"),
        ("de", "Europe/Berlin", "29.11.2026, 14:05 MEZ"),
        ("en", "Asia/Tokyo", "29 Nov 2026, 22:05 UTC+0900"),
    ],
)
def test_a_time_names_its_zone(language: str, zone: str, written: str) -> None:
    assert Texts(language, {}, ZoneInfo(zone)).time(MOMENT) == written


def test_numbers_are_written_as_the_language_does() -> None:
    texts = {
        language: Texts(language, {"point.one": "{number} P", "point.other": "{number} PP"}) for language in LANGUAGES
    }
    assert texts["en"].count("point", 1_250) == "1,250 PP"
    assert texts["de"].count("point", 1_250) == "1.250 PP"
    assert texts["de"].count("point", 1) == "1 P"
    assert (texts["en"].share(1, 8), texts["en"].share(1, 0)) == ("12.5%", "0%")
    assert texts["en"].time(MOMENT, seconds=True) == "29 Nov 2026, 13:05:07 UTC"
    assert texts["en"].hour(MOMENT) == "29 Nov, 13:05"


# The frame, and what every page is sent with.


async def test_a_page_loads_nothing_from_elsewhere_and_lets_nobody_frame_it(client: httpx.AsyncClient) -> None:
    page = await client.get("/plain")
    policy = dict(part.partition(" ")[::2] for part in page.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "script-src": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'self'",
    }
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.findall(r'(?:src|href)="(?!/|#)', page.text)
    away = await client.get("/plain?away=1")
    assert "form-action 'self' https: http:" in away.headers["content-security-policy"]


async def test_in_production_forms_lead_away_by_https_or_to_ones_own_machine(
    service_keys: ServiceKeys, package: None
) -> None:
    house = make_house(settings_of(service_keys, mode=Mode.PRODUCTION, public_url="https://points.example"))
    async with client_of(house, "http://points.example") as client:
        page = await client.get("/plain?away=1")
    policy = page.headers["content-security-policy"].split("form-action ")[1].split(";")[0]
    assert policy == "'self' https: http://localhost:* http://127.0.0.1:*"


async def test_https_is_remembered_but_never_for_ones_own_machine(house: House) -> None:
    for url, is_remembered in (
        ("https://points.example", True),
        ("https://localhost:8443", False),
        ("http://points.example", False),
    ):
        async with client_of(house, url) as client:
            page = await client.get("/plain")
        assert ("strict-transport-security" in page.headers) is is_remembered, url


@pytest.mark.parametrize(
    ("roles", "shown", "hidden"),
    [
        (None, [], ["/account", "/consents", "/operations", "/logout"]),
        ("user", ["/account", "/logout"], ["/consents", "/campaigns", "/operations"]),
        ("tenant_admin", ["/account", "/consents", "/campaigns", "/logout"], ["/operations"]),
        ("operator", ["/account", "/operations", "/logout"], ["/consents"]),
    ],
)
async def test_the_frame_leads_where_somebody_may_go(
    client: httpx.AsyncClient, roles: str | None, shown: list[str], hidden: list[str]
) -> None:
    page = await client.get("/plain" if roles is None else f"/plain?{urlencode({'as': roles})}")
    for path in shown:
        assert f'"{path}"' in page.text
    for path in hidden:
        assert f'"{path}"' not in page.text
    for path in ("/", "/register/terms", "/register/privacy"):
        assert f'href="{path}"' in page.text


async def test_times_are_those_of_the_readers_tenant(service_keys: ServiceKeys, package: None) -> None:
    settings = settings_of(service_keys, time_zone="America/New_York", tenant_time_zones="acme=Europe/Berlin")
    async with client_of(make_house(settings), "http://points.example") as client:
        assert "29 Nov 2026, 14:05 CET" in (await client.get("/time?as=user")).text
        assert "29 Nov 2026, 08:05" in (await client.get("/time")).text


async def test_the_frame_is_called_by_the_setting_else_by_the_tenant(
    client: httpx.AsyncClient, service_keys: ServiceKeys, package: None
) -> None:
    assert "<title>Plain – My points</title>" in (await client.get("/plain")).text
    assert "<title>Plain – Acme &amp; Sons</title>" in (await client.get("/plain?as=user")).text
    named = make_house(
        settings_of(
            service_keys,
            product_name="Stars",
            imprint_url="https://acme.example/imprint",
            help_url="mailto:help@acme.example",
            terms_url="https://acme.example/terms#a",
        )
    )
    async with client_of(named, "http://points.example") as other:
        page = (await other.get("/plain?as=user")).text
    assert "<title>Plain – Stars</title>" in page
    for address in ("https://acme.example/imprint", "mailto:help@acme.example", "https://acme.example/terms#a"):
        assert f'href="{address}"' in page


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("tenant_time_zones", "acme=Mars/Olympus"),
        ("tenant_time_zones", "acme"),
        ("terms_url", "javascript:alert(1)"),
        ("help_url", "//evil.example"),
        ("imprint_url", "imprint"),
    ],
)
def test_a_setting_that_no_page_could_use_is_refused(service_keys: ServiceKeys, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        settings_of(service_keys, **{name: value})


async def test_what_a_browser_may_keep_for_good_is_what_it_asked_for(client: httpx.AsyncClient) -> None:
    page = await client.get("/plain")
    (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.text)
    style = await client.get(address)
    assert style.headers["content-type"].startswith("text/css")
    assert "immutable" in style.headers["cache-control"]
    # Asked of a replica of another version, the file must not be kept under the new version's address.
    other = await client.get(address.partition("?")[0] + "?v=000000000000")
    assert other.status_code == 200
    assert "immutable" not in other.headers["cache-control"]
    assert (await client.head(address)).status_code == 200
    assert (await client.get("/here/static/nothing.css")).status_code == 404
    assert (await client.get("/here/static/go.js")).text == "document.title = 'ran'"


# Cookies.


async def test_over_https_no_other_host_of_the_domain_can_plant_a_cookie(house: House) -> None:
    async with client_of(house, "https://points.example") as client:
        page = await client.get("/form?lang=de")
        cookies = page.headers.get_list("set-cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert cookie.startswith("__Host-")
            attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"httponly", "secure", "path=/", "samesite=lax"} <= attributes
            assert not any(attribute.startswith("domain") for attribute in attributes)
        token = token_of(page)
        key = client.cookies["__Host-form_key"]
        client.cookies.clear()
        client.cookies.set("form_key", key)
        planted = await client.post("/form", data={"csrf_token": token})
        assert (planted.status_code, planted.json()["code"]) == (403, "cookies_needed")


async def test_over_plain_http_which_browsers_would_refuse_the_name_for_it_has_none(client: httpx.AsyncClient) -> None:
    (cookie,) = (await client.get("/form")).headers.get_list("set-cookie")
    assert cookie.startswith("form_key=")
    assert "secure" not in cookie.lower()


# Forms.


def token_of(page: httpx.Response) -> str:
    (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)
    return str(token)


async def test_a_form_is_taken_from_the_browser_it_was_given_to(client: httpx.AsyncClient) -> None:
    token = token_of(await client.get("/form"))
    answer = await client.post("/form", data={"csrf_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/form")


async def test_a_form_of_another_browser_or_session_is_not_taken(house: House, client: httpx.AsyncClient) -> None:
    token = token_of(await client.get("/form"))
    async with client_of(house, "http://points.example") as other:
        foreign = token_of(await other.get("/form"))
    for wrong in ("", "x", foreign, "😀"):
        answer = await client.post("/form", data={"csrf_token": wrong})
        assert (answer.status_code, answer.json()["code"]) == (403, "form_expired")
    client.cookies.set("session", "signed-in-since")
    assert (await client.post("/form", data={"csrf_token": token})).status_code == 403
    # A second tab's sign-in page was given out before: it still works.
    assert (await client.post("/form?early=1", data={"csrf_token": token})).status_code == 303


async def test_a_browser_without_cookies_is_told_so(house: House, client: httpx.AsyncClient) -> None:
    token = token_of(await client.get("/form"))
    async with client_of(house, "http://points.example") as without:
        answer = await without.post("/form", data={"csrf_token": token}, headers=HTML)
    assert answer.status_code == 403
    assert "Your browser does not keep cookies" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://shop.points.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "https://evil.example/"},
    ],
)
async def test_a_form_that_another_site_posts_is_not_taken(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    token = token_of(await client.get("/form"))
    answer = await client.post("/form", data={"csrf_token": token}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request")


async def test_a_form_has_bounds(client: httpx.AsyncClient) -> None:
    token = token_of(await client.get("/form"))
    field = "a" * MAX_FIELD_CHARACTERS
    assert (await client.post("/form", data={"csrf_token": token, "a": field})).status_code == 303
    # What is longer comes as something too long, for the rule of its field to refuse.
    longer = await client.post("/form?echo=1", data={"csrf_token": token, "a": field + "aaa"})
    assert longer.text == str(MAX_FIELD_CHARACTERS + 1)
    answer = await client.post("/form", content=b"a=" + b"b" * MAX_BYTES, headers=FORM_TYPE)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")

    async def without_end() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"a" * 1024
        raise AssertionError("read on and on")

    assert (await client.post("/form", content=without_end(), headers=FORM_TYPE)).status_code == 413


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"a=b&" * 101, "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"a=b", "", 415),
    ],
)
async def test_what_no_form_sends_is_refused(
    client: httpx.AsyncClient, content: bytes, media_type: str, status: int
) -> None:
    answer = await client.post("/form", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status


# Refusals.


@pytest.mark.parametrize(
    ("path", "accept", "is_page"),
    [
        ("/tired", HTML["Accept"], True),
        ("/tired", "text/html", True),
        ("/tired", "TEXT/HTML;level=1", True),
        ("/tired", "*/*", False),
        ("/tired", "", False),
        ("/tired", "application/json", False),
        ("/tired", "text/html;q=0", False),
        ("/tired", "text/html;q=0.5, application/json", False),
        ("/tired", "text/html, application/json;q=0.9", True),
        ("/only-pages/tired", "*/*", True),
        ("/only-pages/tired", "", True),
        ("/only-pages/tired", "application/json", False),
    ],
)
async def test_a_refusal_is_a_page_for_people_and_a_body_for_programs(
    client: httpx.AsyncClient, path: str, accept: str, is_page: bool
) -> None:
    answer = await client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"].startswith("text/html" if is_page else "application/problem+json")


async def test_a_refusals_page_speaks_the_readers_language_and_names_what_helpers_need(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/tired", headers=HTML | {"Accept-Language": "de", "X-Request-Id": "ask-me"})
    assert '<h1 id="title">Müde</h1>' in page.text
    assert "ask-me" in page.text
    assert "tired" in page.text
    missing = await client.get("/nothing-at-all", headers=HTML)
    assert missing.status_code == 404
    assert "Page not found" in missing.text
    assert 'href="/"' in missing.text
