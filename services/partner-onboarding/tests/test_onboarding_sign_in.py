"""Signing in and out with a browser."""

import asyncio
import re
import threading
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from shared.errors import Unavailable

from .handshake_partner import Partner
from .handshake_people import FORM, GOOD_PASSWORD, browser, fill_in, landed
from .onboarding_house import PASSWORD, House, hidden_fields


async def test_a_user_signs_in_sees_the_account_and_signs_out(house: House) -> None:
    email = await house.user()
    start = await house.http.get("/")
    assert (start.status_code, start.headers["location"]) == (303, "/login")
    signed_in = await house.sign_in(f" {email.upper()} ")
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/account")
    assert (await house.http.get("/")).headers["location"] == "/account"
    assert (await house.http.get("/login")).headers["location"] == "/account"
    account = await house.http.get("/account")
    assert account.status_code == 200
    signed_out = await house.http.post("/logout", data=hidden_fields(account.text))
    assert (signed_out.status_code, signed_out.headers["location"]) == (303, "/login?signed_out=1")
    again = await house.http.get("/account")
    assert (again.status_code, again.headers["location"]) == (303, "/login?next=%2Faccount")
    assert "You have signed out." in (await house.http.get("/login?signed_out=1")).text


async def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(house: House) -> None:
    signed_in = await house.sign_in(await house.user())
    cookie = next(value for value in signed_in.headers.get_list("set-cookie") if value.startswith("__Host-session="))
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"httponly", "secure", "path=/", "samesite=lax"}


async def test_every_sign_in_starts_another_session_and_ends_the_former_one(house: House) -> None:
    email = await house.user()
    first = (await house.sign_in(email)).cookies["__Host-session"]
    token = hidden_fields((await house.http.get("/account/password")).text)
    second = await house.http.post("/login", data={**token, "email": email, "password": PASSWORD})
    assert second.status_code == 303
    assert second.cookies["__Host-session"] != first
    ended = await house.http.post(
        "/internal/sessions/check", json={"session": first}, headers=house.service("sso-issuer")
    )
    assert ended.status_code == 404


@pytest.mark.parametrize("way", ["signing in", "registering", "registering twice"])
async def test_who_is_disabled_while_the_password_is_compared_gets_no_session(
    house: House, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    partner, loop = await Partner.of(house), asyncio.get_running_loop()
    code = (await partner.codes())["registerCode"]
    if way == "registering twice":
        email = house.address("greta")
        async with browser(house) as first:
            user_id = landed(await fill_in(first, code, email))["userId"]
    else:
        email, user_id = await house.user("erika", password=GOOD_PASSWORD), "erika"
    verify = Argon2Hasher.verify

    def slow(self: Argon2Hasher, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 — its name there
        disabling = house.register.users.set_disabled(house.tenant, user_id, disabled=True)
        asyncio.run_coroutine_threadsafe(disabling, loop).result(20)
        return verify(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "verify", slow)
    match way:
        case "signing in":
            assert (await house.sign_in(email, GOOD_PASSWORD)).status_code == 401
        case "registering":
            async with browser(house) as http:
                # Nobody has this password here any more: the form makes an account, as it does for everybody.
                assert landed(await fill_in(http, code, email))["userId"] != user_id
        case _:
            async with browser(house) as http:
                page = await http.get(FORM, params={"registerCode": (await partner.codes())["registerCode"]})
                sent = hidden_fields(page.text) | {"email": email, "password": GOOD_PASSWORD}
                again = await http.post(FORM, params={"registerCode": code}, data=sent)
                assert (again.status_code, "session" in again.cookies) == (410, False)
    assert await house.register.sessions.running(house.tenant, user_id) == []


async def test_a_form_that_was_not_given_out_to_this_browser_is_refused(house: House) -> None:
    email = await house.user()
    form = await house.login_form()
    good = {**form, "email": email, "password": PASSWORD}
    for changed in ({"csrf_token": ""}, {"csrf_token": "x" * 43}, {"csrf_token": "ü"}):
        answer = await house.http.post("/login", data=good | changed)
        assert answer.status_code == 403
        assert "The form was open for too long" in answer.text
        assert email in answer.text
    house.http.cookies.delete("__Host-form_key")
    assert (await house.http.post("/login", data=good)).status_code == 403
    # The page that says so carries a good form: sending it again works.
    fresh = await house.http.post("/login", data=good)
    again = await house.http.post("/login", data=good | hidden_fields(fresh.text))
    assert again.status_code == 303


async def test_a_token_from_before_the_sign_in_is_of_no_use_after_it(house: House) -> None:
    form = await house.login_form()
    await house.sign_in(await house.user())
    refused = await house.http.post("/account/unlink", data=form, headers={"Accept": "text/html"})
    assert refused.status_code == 403
    assert "This form is out of date" in refused.text
    assert (await house.http.get("/account")).status_code == 200


@pytest.mark.parametrize(
    ("goal", "location"),
    [
        ("/setup/client-1?state=a%20b&scope=points%3Aread", "/setup/client-1?state=a%20b&scope=points%3Aread"),
        ("//evil.example/", "/account"),
        ("https://evil.example/", "/account"),
        ("/\\evil.example", "/account"),
        ("/\t/evil.example", "/account"),
        ("javascript:alert(1)", "/account"),
    ],
)
async def test_signing_in_leads_to_where_one_wanted_but_never_off_this_site(
    house: House, goal: str, location: str
) -> None:
    email = await house.user()
    page = await house.http.get("/login", params={"next": goal})
    (action,) = re.findall(r'<form method="post" action="(/login[^"]*)" novalidate>', page.text)
    assert dict(parse_qsl(urlsplit(unescape(action)).query)).get("next", "/account") == location
    forged = {**hidden_fields(page.text), "next": goal, "email": email, "password": PASSWORD}
    assert (await house.http.post("/login", data=forged)).headers["location"] == location
    forged_address = {**hidden_fields(page.text), "email": email, "password": PASSWORD}
    house.http.cookies.delete("session")
    again = await house.http.post("/login", params={"next": goal}, data=forged_address)
    assert again.headers["location"] == location
    assert (await house.http.get("/login", params={"next": goal})).headers["location"] == location


async def test_an_address_with_accounts_in_two_tenants_leads_to_the_one_whose_password_it_is(house: House) -> None:
    email = await house.user("here")
    other = await house.another_tenant()
    await house.user("there", tenant=other, email=email, password="another pass phrase")
    await house.sign_in(email, "another pass phrase")
    account = await house.http.get("/account")
    assert f"Tenant {other}" in account.text
    assert f"Tenant {house.tenant}" not in account.text


async def test_where_the_password_fits_two_accounts_the_person_chooses(house: House) -> None:
    email = await house.user("here")
    other = await house.another_tenant()
    await house.user("there", tenant=other, email=email)
    choice = await house.sign_in(email)
    assert choice.status_code == 200
    assert "__Host-session" not in choice.cookies
    assert "Which account?" in choice.text
    assert PASSWORD not in choice.text
    form = {**hidden_fields(choice.text), "email": email, "password": PASSWORD, "tenant": other}
    assert (await house.http.post("/login", data=form)).status_code == 303
    assert f"Tenant {other}" in (await house.http.get("/account")).text


async def test_choosing_a_tenant_does_not_replace_the_password(house: House) -> None:
    email = await house.user("here")
    other = await house.another_tenant()
    await house.user("there", tenant=other, email=email, password="another pass phrase")
    assert (await house.sign_in(email, PASSWORD, tenant=other)).status_code == 401


async def test_passwords_are_compared_in_one_normal_form(house: House) -> None:
    email = await house.user(password="mu\u0308llers ge\ufb01lde")
    assert (await house.sign_in(email, "m\u00fcllers gefilde")).status_code == 303


async def test_sign_ins_beyond_the_queue_are_asked_to_come_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = house.register.passwords
    monkeypatch.setattr("partner_onboarding.register.users.passwords.MAX_WAITING", 1)
    async with passwords.turn(), passwords.turn():
        waiting = asyncio.ensure_future(passwords.turn().__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await passwords.turn().__aenter__()
        assert refused.value.retry_after_seconds
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_hashing_passwords_holds_no_other_request_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While both threads hash, everything but signing in goes on."""
    email = await house.user()
    operator = await house.caller("clients:admin")
    verify, may_go_on, begun = Argon2Hasher.verify, threading.Event(), threading.Semaphore(0)

    def slow(self: Argon2Hasher, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 — its name there
        begun.release()
        assert may_go_on.wait(30)
        return verify(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "verify", slow)
    signing_in = [asyncio.create_task(house.sign_in(email)) for _ in range(3)]
    try:
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=30)
        for path in ("/healthz", "/v1/clients", "/static/site.css"):
            assert (await house.http.get(path, headers=operator)).status_code == 200
        assert not any(task.done() for task in signing_in)
    finally:
        may_go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*signing_in)] == [303, 303, 303]


async def test_sign_ins_stand_in_the_audit_good_and_bad(house: House) -> None:
    email = await house.user()
    await house.sign_in(email, "not the password")
    await house.sign_in(house.address("nobody"), "not the password")
    await house.sign_in(email)
    form = hidden_fields((await house.http.get("/account")).text)
    await house.http.post("/logout", data=form)
    operator = await house.caller("clients:admin")

    async def told() -> set[tuple[str, str, str, str]]:
        entries = (await house.http.get("/v1/audit", headers=operator)).json()["entries"]
        return {(one["actor_kind"], one["actor"], one["action"], one["origin"]) for one in entries}

    expected = {
        ("anonymous", "", "sign_in_failed", house.ip_address),
        ("user", "erika", "signed_in", house.ip_address),
        ("user", "erika", "signed_out", house.ip_address),
    }
    async with asyncio.timeout(20):
        while not expected <= await told():
            pass
    assert len([one for one in await told() if one[2] == "sign_in_failed"]) == 1


async def test_a_person_sees_where_they_are_signed_in_and_ends_it_everywhere_else(house: House) -> None:
    email = await house.user()
    other = house.browser()
    form = hidden_fields((await other.get("/login")).text)
    await other.post("/login", data=form | {"email": email, "password": PASSWORD})
    stranger = house.browser()
    strangers = hidden_fields((await stranger.get("/login")).text)
    await stranger.post("/login", data=strangers | {"email": await house.user("fritz"), "password": PASSWORD})
    await house.sign_in(email)
    page = (await house.http.get("/account/sessions")).text
    assert (page.count("This browser"), page.count("Another browser")) == (1, 1)
    ended = await house.http.post("/account/sessions/end-others", data=hidden_fields(page))
    assert ended.headers["location"] == "/account/sessions?ended=1"
    assert (await other.get("/account")).headers["location"].startswith("/login")
    assert (await house.http.get("/account")).status_code == 200
    assert (await stranger.get("/account")).status_code == 200
    assert "You are not signed in anywhere else." in (await house.http.get("/account/sessions")).text


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("/operations/audit?q=x", "to go on to the operators&#39; pages"),
        ("/consents", "to go on to the access you have allowed"),
        ("/setup/some-client?state=x", "to go on to the access that a program asks for"),
        ("/sso/v1/redeem/shop", "to go on to the shop"),
        ("/registrieren/?registerCode=x", "to go on to linking your account"),
        ("/accounting", "Please sign in to continue."),
        ("/account", "See your points and spend them"),
    ],
)
async def test_the_sign_in_page_says_what_it_leads_to(house: House, goal: str, said: str) -> None:
    page = await house.http.get("/login", params={"next": goal})
    assert said in page.text
    german = await house.http.get("/login", params={"next": goal, "lang": "de"})
    assert german.status_code == 200
