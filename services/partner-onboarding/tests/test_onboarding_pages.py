"""Pages: what they show, in which language, and with which headers."""

import re
from importlib import resources
from string import Formatter

import pytest
from shared.web.languages import LANGUAGES, load_texts

from .onboarding_house import House, hidden_fields

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
AWAY = "'self' https: http://localhost:* http://127.0.0.1:*"
SHOP = {"vendor_id": "shop", "name": "Rewards <Shop>"}


async def test_the_account_shows_name_points_and_shops(house: House) -> None:
    await house.sign_in(await house.user(firstname="<Erika>"))
    house.neighbours.balances[house.tenant, "erika"] = (12450, 1)
    house.neighbours.vendors[house.tenant] = [SHOP, {"vendor_id": "a/b", "name": "Books"}]
    page = (await house.http.get("/account")).text
    assert "Hello, &lt;Erika&gt;" in page
    assert 'data-points="12450">12,450</p>' in page
    assert "Set aside for purchases under way: 1 point." in page
    assert '<form method="post" action="/sso/v1/redeem/shop">' in page
    assert '<form method="post" action="/sso/v1/redeem/a%2Fb">' in page
    assert page.index("Books") < page.index("Rewards &lt;Shop&gt;")
    assert "<Shop>" not in page


async def test_other_services_are_asked_with_a_service_token(house: House) -> None:
    await house.sign_in(await house.user())
    await house.http.get("/account")
    callees = {"points-ledger", "sso-issuer"}
    for authorization in house.neighbours.authorizations:
        token = authorization.removeprefix("Bearer ")
        for callee in sorted(callees):
            tokens = house.keys.tokens(callee)
            try:
                assert tokens.verify(token) == "partner-onboarding"
            except Exception:  # noqa: S112 — meant for the other of the two
                continue
            callees.discard(callee)
    assert not callees


async def test_a_user_without_points_account_is_told_so(house: House) -> None:
    await house.sign_in(await house.user())
    page = (await house.http.get("/account")).text
    assert "You have no points account yet." in page
    assert "There is no shop yet where you can spend points." in page
    assert "data-points" not in page


async def test_what_cannot_be_asked_for_is_not_guessed(house: House) -> None:
    await house.sign_in(await house.user())
    house.neighbours.balances[house.tenant, "erika"] = (10, 0)
    house.neighbours.vendors[house.tenant] = [SHOP]
    house.neighbours.ledger_is_down = True
    page = await house.http.get("/account")
    assert page.status_code == 200
    assert "We cannot look up your balance" in page.text
    assert "data-points" not in page.text
    assert "/sso/v1/redeem/shop" in page.text
    house.neighbours.ledger_is_down, house.neighbours.issuer_is_down = False, True
    page = await house.http.get("/account")
    assert "We cannot look up the shops" in page.text
    assert 'data-points="10"' in page.text


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr-CH, fr;q=0.9, en;q=0.2, de;q=0.7", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("de;q=0, en;q=0.1", "en"),
        ("fr", "en"),
        ("", "en"),
        ("de;q=nonsense", "en"),
        (";;;,,,q=1", "en"),
        ("*", "en"),
    ],
)
async def test_pages_speak_the_browsers_language(house: House, header: str, language: str) -> None:
    page = await house.http.get("/login", headers={"Accept-Language": header})
    assert f'<html lang="{language}">' in page.text
    assert page.headers["content-language"] == language
    assert {"de": "Anmelden", "en": "Sign in"}[language] in page.text


async def test_the_language_chosen_is_remembered(house: House) -> None:
    english = {"Accept-Language": "en"}
    page = await house.http.get("/login?next=%2Fconsents&lang=de", headers=english)
    assert '<html lang="de">' in page.text
    assert 'href="/login?next=%2Fconsents&amp;lang=en"' in page.text
    assert '<html lang="de">' in (await house.http.get("/login", headers=english)).text
    await house.http.get("/login?lang=fr", headers=english)
    assert '<html lang="de">' in (await house.http.get("/login", headers=english)).text
    await house.http.get("/login?lang=en", headers={"Accept-Language": "de"})
    assert '<html lang="en">' in (await house.http.get("/login", headers={"Accept-Language": "de"})).text


async def test_numbers_and_times_are_written_as_the_language_does(house: House) -> None:
    await house.sign_in(await house.user())
    house.neighbours.balances[house.tenant, "erika"] = (12450, 0)
    page = (await house.http.get("/account?lang=de")).text
    assert ">12.450</p>" in page
    assert "Stand: 21.11.2026, 20:30 UTC" in page


def test_every_language_has_the_same_texts_with_the_same_values() -> None:
    def texts(language: str) -> dict[str, set[str | None]]:
        return {
            key: {field for _, field, _, _ in Formatter().parse(text) if field is not None}
            for key, text in load_texts("partner_onboarding")[language].by_key.items()
        }

    first, *others = [texts(language) for language in LANGUAGES]
    for other in others:
        assert other == first


def test_every_text_is_used_and_every_used_text_exists() -> None:
    with resources.as_file(resources.files("partner_onboarding")) as package:
        code = "\n".join(source.read_text() for kind in ("*.html", "*.py") for source in package.rglob(kind))
    known = set(load_texts("partner_onboarding")["en"].by_key)
    shared = set(load_texts("shared.web")["en"].by_key)
    used = set(re.findall(r"\b(?:t|say)\(\"([a-z_]+\.[a-z_]+)\"", code))
    assert used <= known | shared
    made_up = {"refused": "by code", "points": "counted", "minutes": "counted", "error": "missing"}
    made_up |= {"scope": "by scope", "state": "by state", "action": "by action", "event": "by event"}
    made_up |= {"code": "by code", "document": "by document", "confirm": "by outcome", "mail": "by kind"}
    made_up |= {
        "entry": "by kind",
        "actor": "by kind",
        "actors": "by kind",
        "overlap": "by seconds",
        "wrong": "by field",
    }
    made_up |= {"role": "by role", "revoking": "by role", "done": "by act", "sessions_count": "counted"}
    made_up |= {"place": "by goal", "edit_wrong": "by field", "new_address": "by outcome"}
    assert {name for name in known - used if name.partition(".")[0] not in made_up} == set()


@pytest.mark.parametrize("path", ["/login", "/account", "/nothing"])
async def test_pages_cannot_be_framed_cached_or_scripted_from_elsewhere(house: House, path: str) -> None:
    await house.sign_in(await house.user())
    if path == "/login":
        house.http.cookies.clear()
    headers = (await house.http.get(path, headers=HTML)).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("style-src", "script-src", "img-src")} == {"'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    # Chromium holds form-action against redirects, and "Redeem" ends at the vendor's site.
    assert policy["form-action"] == (AWAY if path == "/account" else "'self'")
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


async def test_pages_hold_nothing_inline_that_the_policy_would_stop(house: House) -> None:
    await house.sign_in(await house.user())
    for page in (await house.http.get("/account"), await house.http.get("/nothing", headers=HTML)):
        assert not re.search(r"<style|style=|<script(?! src=)|\son\w+=", page.text)


async def test_static_files_are_kept_for_good_under_the_digest_of_their_content(house: House) -> None:
    page = (await house.http.get("/login")).text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert {address.partition("?")[0] for address in addresses} == {
        *("/static/site.css", "/static/mark.svg", "/static/coins.svg"),
        *("/static/show-password.js", "/static/once.js", "/static/copy.js"),
    }
    for address in addresses:
        answer = await house.http.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await house.http.get("/static/site.css")).headers["content-type"].startswith("text/css")
    for missing in ("/static/nothing.css", "/static/..%2Fapp.py", "/static/"):
        assert (await house.http.get(missing)).status_code == 404


async def test_browsers_get_refusals_as_pages_and_programs_as_problems(house: House) -> None:
    page = await house.http.get("/nothing", headers=HTML | {"Accept-Language": "de"})
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Seite nicht gefunden" in page.text
    assert page.headers["x-request-id"] in page.text
    problem = await house.http.get("/nothing")
    assert problem.status_code == 404
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["code"] == "not_found"
    refused = await house.http.get("/v1/clients", headers=HTML)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert (await house.http.delete("/login", headers=HTML)).status_code == 405


async def test_what_goes_wrong_inside_is_said_without_telling_of_the_inside(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret of the inside")

    await house.sign_in(await house.user())
    monkeypatch.setattr("partner_onboarding.register.sessions.store.find_sessions", broken)
    for headers in (HTML, {}):
        answer = await house.http.get("/account", headers=headers)
        assert answer.status_code == 500
        assert "secret of the inside" not in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert ("Something went wrong" in answer.text) is True
        assert answer.headers["content-type"].startswith("text/html" if headers else "application/problem+json")


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({}, ["Enter your e-mail address.", "Enter your password."]),
        ({"email": "a@example.com"}, ["Enter your password."]),
        ({"email": "not an address", "password": "x"}, ["Enter an e-mail address in the form"]),
        ({"email": "a\x00@example.com", "password": "x"}, ["Enter an e-mail address in the form"]),
        ({"email": "x" * 10_000, "password": "x"}, ["Enter an e-mail address in the form"]),
    ],
)
async def test_the_form_names_what_is_wrong_and_keeps_what_was_typed(
    house: House, fields: dict[str, str], messages: list[str]
) -> None:
    form = await house.login_form()
    page = await house.http.post("/login", data=form | fields)
    assert page.status_code == 400
    assert "<title>Error: Sign in" in page.text
    assert 'role="alert"' in page.text
    for message in messages:
        # Once in the summary, once at the field.
        assert page.text.count(message) == 2
    assert fields.get("password", "never typed") not in re.findall(r'value="([^"]*)"', page.text)
    assert hidden_fields(page.text)["csrf_token"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"email=a&password=b", "text/plain", 415),
        (b'{"email": "a"}', "application/json", 415),
        (b"email=%ff%fe&password=x", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 400),
        (b"&".join([b"a=1"] * 500), "application/x-www-form-urlencoded", 400),
        (b"email=" + b"x" * 2_000_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_what_is_no_form_is_refused(house: House, content: bytes, content_type: str, status: int) -> None:
    for path in ("/login", "/logout"):
        answer = await house.http.post(path, content=content, headers={"Content-Type": content_type})
        assert answer.status_code == status
