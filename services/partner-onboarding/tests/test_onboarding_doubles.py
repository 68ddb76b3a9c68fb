"""Every form is pressed twice at once: it is carried out once, and its double gets the first one's answer."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from partner_onboarding.register.notices.links import new_token
from partner_onboarding.register.tables import audit_entries, mails, users
from partner_onboarding.third_parties.tables import integration_requests
from shared.web.form_answers import FormAnswers, FormRoute
from sqlalchemy import func, insert, select

from .handshake_partner import Partner
from .handshake_people import FORM, GOOD_PASSWORD, browser
from .integration_partner import consented_code, link, sign_in_as, submit, third_party
from .onboarding_house import PASSWORD, House, hidden_fields
from .test_onboarding_second_factor import app_code, code_of, set_up

HTML = {"Accept": "text/html"}
#: Where a form is posted to, with its fields.
Filled = tuple[str, dict[str, str]]


async def _fields(house: House, path: str) -> dict[str, str]:
    page = await house.http.get(path, headers=HTML)
    assert page.status_code == 200, page.text
    return hidden_fields(page.text)


async def sign_in(house: House) -> Filled:
    email = await house.user()
    return "/login", await house.login_form() | {"email": email, "password": PASSWORD}


async def sign_out(house: House) -> Filled:
    await house.sign_in(await house.user())
    return "/logout", {}


async def change_password(house: House) -> Filled:
    await house.sign_in(await house.user())
    fields = await _fields(house, "/account/password")
    return "/account/password", fields | {"present_password": PASSWORD, "password": GOOD_PASSWORD}


async def change_profile(house: House) -> Filled:
    email = await house.user()
    await house.sign_in(email)
    wanted = {"firstname": "Rika", "lastname": "Muster", "email": email, "present_password": PASSWORD}
    return "/account/profile", await _fields(house, "/account/profile") | wanted


async def confirm_new_address(house: House) -> Filled:
    await house.user()
    token, digest = new_token(house.tenant)
    sealed = house.register.profiles.seal_address(house.tenant, "erika", house.address("moved"))
    async with house.register.database.transaction() as connection:
        values = {"tenant": house.tenant, "mail_id": "m", "user_id": "erika", "kind": "confirm_new_address"}
        values |= {"language": "en", "token_hash": digest, "recipient": sealed, "next_attempt_at": None}
        await connection.execute(insert(mails).values(values))
    return "/account/email", await _fields(house, f"/account/email?token={token}")


async def delete_account(house: House) -> Filled:
    await house.sign_in(await house.user())
    return "/account/delete", await _fields(house, "/account/delete") | {"present_password": PASSWORD}


async def unlink(house: House) -> Filled:
    partner = await Partner.of(house)
    await house.sign_in(await house.user())
    fields = await _fields(house, "/account/password")
    return "/account/unlink", fields | {"partner": partner.client_id}


async def register(house: House, path: str = FORM) -> Filled:
    code = (await (await Partner.of(house)).codes())["registerCode"]
    address = f"{path}?registerCode={code}"
    person = {"email": house.address("greta"), "password": GOOD_PASSWORD, "firstname": "Greta", "lastname": "Garten"}
    return address, await _fields(house, address) | person | {"accept_terms": "yes", "accept_privacy": "yes"}


async def register_without_slash(house: House) -> Filled:
    return await register(house, "/registrieren")


async def register_in_english(house: House) -> Filled:
    return await register(house, "/register/")


async def link_account(house: House) -> Filled:
    await house.sign_in(await house.user())
    code = (await (await Partner.of(house)).codes())["registerCode"]
    address = f"/register?registerCode={code}"
    return address, await _fields(house, address) | {"decision": "link"}


async def confirm_address(house: House) -> Filled:
    path = f"/register/confirm/{house.tenant}/{'a' * 32}"
    return path, await _fields(house, path)


async def apply(house: House) -> Filled:
    fields = await _fields(house, "/integrations/apply")
    return "/integrations/apply", fields | {
        "tenant": house.tenant,
        "name": "Order insights",
        "organisation": "Example Analytics Ltd",
        "goals": "Reports.",
        "scopes": "points:read",
        "redirect_uris": "https://integrator.example/callback",
        "contact_name": "Ines",
        "contact_email": "ines@integrator.example",
    }


async def make_test_client(house: House) -> Filled:
    await house.register.tenants.create("developers", "For developers", (), sandbox=True)
    return "/developers/test-client", await _fields(house, "/developers/test-client")


async def approve(house: House) -> Filled:
    request_id = await submit(house)
    await sign_in_as(house, "operator")
    path = f"/operations/requests/{request_id}"
    return f"{path}/approve", await _fields(house, path)


async def decline(house: House) -> Filled:
    request_id = await submit(house)
    await sign_in_as(house, "operator")
    path = f"/operations/requests/{request_id}"
    return f"{path}/decline", await _fields(house, path) | {"reason": "Too much."}


async def rotate(house: House) -> Filled:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}"
    return f"{path}/secrets", await _fields(house, path) | {"overlap_seconds": "3600"}


async def end_secret(house: House) -> Filled:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}"
    return f"{path}/secrets/1/end", await _fields(house, path)


async def disable(house: House) -> Filled:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}"
    return f"{path}/disable", await _fields(house, path)


async def edit_client(house: House) -> Filled:
    client_id, _ = await house.client("points:read")
    await sign_in_as(house, "operator")
    path = f"/operations/clients/{client_id}/edit"
    wanted = {"name": "Another name", "scopes": "points:read", "redirect_uris": "", "ip_allow_list": ""}
    asked = await house.http.post(path, data=await _fields(house, path) | wanted, headers=HTML)
    assert asked.status_code == 200
    return path, hidden_fields(asked.text)


async def new_client(house: House) -> Filled:
    await sign_in_as(house, "operator")
    path = "/operations/new-client"
    return path, await _fields(house, path) | {"name": "New", "scopes": "points:read"}


async def _person(house: House, act: str, **fields: str) -> Filled:
    await house.user("erika", roles=["operator"])
    await house.sign_in(house.address("erika"))
    await sign_in_as(house, "operator")
    page = await _fields(house, "/operations/people/person?id=erika")
    return f"/operations/people/{act}", page | {"user_id": "erika"} | fields


async def revoke_role(house: House) -> Filled:
    return await _person(house, "revoke-role", role="operator")


async def disable_person(house: House) -> Filled:
    return await _person(house, "disable")


async def enable_person(house: House) -> Filled:
    filled = await _person(house, "enable")
    await house.register.users.set_disabled(house.tenant, "erika", disabled=True)
    return filled


async def sign_person_out(house: House) -> Filled:
    return await _person(house, "end-sessions")


async def hand_over(house: House) -> Filled:
    path, fields = await rotate(house)
    place = (await house.http.post(path, data=fields)).headers["location"]
    return f"{place}/done", await _fields(house, place)


async def consent(house: House) -> Filled:
    client_id = await third_party(house)
    await sign_in_as(house, "tenant_admin")
    page = await house.http.get(f"/setup/{client_id}", params=link())
    fields = hidden_fields(page.text) | {"designated_user": "boss", "decision": "consent"}
    return f"/setup/{client_id}", fields


async def redesignate(house: House) -> Filled:
    client_id = await third_party(house)
    await sign_in_as(house, "tenant_admin")
    await consented_code(house, client_id)
    path = f"/consents/{client_id}"
    return f"{path}/designated-user", await _fields(house, path) | {"designated_user": "boss"}


async def withdraw(house: House) -> Filled:
    client_id = await third_party(house)
    await sign_in_as(house, "tenant_admin")
    await consented_code(house, client_id)
    path = f"/consents/{client_id}"
    return f"{path}/withdraw", await _fields(house, path)


async def begin_second_factor(house: House) -> Filled:
    await house.sign_in(await house.user())
    path = "/account/second-factor"
    return f"{path}/begin", await _fields(house, path)


async def confirm_second_factor(house: House) -> Filled:
    path, fields = await begin_second_factor(house)
    await house.http.post(path, data=fields)
    page = await house.http.get("/account/second-factor")
    code = code_of(page)
    return "/account/second-factor", hidden_fields(page.text) | {"code": code}


async def renew_codes(house: House) -> Filled:
    await house.sign_in(await house.user())
    secret, _ = await set_up(house.http)
    path = "/account/second-factor"
    return f"{path}/codes", await _fields(house, path) | {"code": app_code(secret)}


async def remove_second_factor(house: House) -> Filled:
    await house.sign_in(await house.user())
    secret, _ = await set_up(house.http)
    path = "/account/second-factor"
    return f"{path}/remove", await _fields(house, path) | {"remove_code": app_code(secret)}


async def give_code(house: House) -> Filled:
    email = await house.user()
    await house.sign_in(email)
    secret, _ = await set_up(house.http)
    await house.http.post("/logout")
    await house.sign_in(email)
    return "/login/code", await _fields(house, "/login/code") | {"code": app_code(secret)}


async def enrol_at_sign_in(house: House) -> Filled:
    """A session that still owes a second factor, as where people with a role must have one."""
    await house.user()
    register = house.register
    async with register.database.transaction() as connection:
        cookie = await register.sessions.begin(connection, house.tenant, "erika", None, awaits="enrolment")
    await register.second_factors.begin(house.tenant, "erika")
    house.http.cookies.set("__Host-session", cookie)
    page = await house.http.get("/login/second-factor", headers=HTML)
    return "/login/second-factor", hidden_fields(page.text) | {"code": code_of(page)}


async def end_other_sessions(house: House) -> Filled:
    email = await house.user()
    async with browser(house) as other:
        form = hidden_fields((await other.get("/login")).text)
        await other.post("/login", data=form | {"email": email, "password": PASSWORD})
    await house.sign_in(email)
    return "/account/sessions/end-others", await _fields(house, "/account/sessions")


async def mail_again(house: House) -> Filled:
    await house.sign_in(await house.user())
    return "/account/confirmation", await _fields(house, "/account/password")


async def forget_password(house: House) -> Filled:
    return "/password/forgotten", await _fields(house, "/password/forgotten") | {"email": await house.user()}


async def reset_password(house: House) -> Filled:
    await house.user()
    token, digest = new_token(house.tenant)
    async with house.register.database.transaction() as connection:
        user_id = await connection.scalar(select(users.c.user_id).where(users.c.tenant == house.tenant))
        values = {"tenant": house.tenant, "mail_id": "m", "user_id": user_id, "kind": "password_forgotten"}
        values |= {"language": "en", "token_hash": digest, "next_attempt_at": None}
        await connection.execute(insert(mails).values(values))
    page = await house.http.get(f"/password/reset?token={token}", headers=HTML)
    return "/password/reset", hidden_fields(page.text) | {"password": GOOD_PASSWORD}


#: Every address that takes a form, and how a person comes to its button.
FORMS: dict[str, Callable[[House], Awaitable[Filled]]] = {
    "/login": sign_in,
    "/logout": sign_out,
    "/account/password": change_password,
    "/account/profile": change_profile,
    "/account/email": confirm_new_address,
    "/password/forgotten": forget_password,
    "/password/reset": reset_password,
    "/account/delete": delete_account,
    "/account/unlink": unlink,
    "/account/confirmation": mail_again,
    "/account/sessions/end-others": end_other_sessions,
    "/account/second-factor": confirm_second_factor,
    "/account/second-factor/begin": begin_second_factor,
    "/account/second-factor/codes": renew_codes,
    "/account/second-factor/remove": remove_second_factor,
    "/login/code": give_code,
    "/login/second-factor": enrol_at_sign_in,
    "/registrieren/": register,
    "/registrieren": register_without_slash,
    "/register/": register_in_english,
    "/register": link_account,
    "/register/confirm/{tenant}/{token}": confirm_address,
    "/integrations/apply": apply,
    "/developers/test-client": make_test_client,
    "/operations/requests/{request_id}/approve": approve,
    "/operations/requests/{request_id}/decline": decline,
    "/operations/clients/{client_id}/secrets": rotate,
    "/operations/clients/{client_id}/secrets/{n}/end": end_secret,
    "/operations/clients/{client_id}/disable": disable,
    "/operations/handovers/{handover_id}/done": hand_over,
    "/operations/clients/{client_id}/edit": edit_client,
    "/operations/new-client": new_client,
    "/operations/people/revoke-role": revoke_role,
    "/operations/people/disable": disable_person,
    "/operations/people/enable": enable_person,
    "/operations/people/end-sessions": sign_person_out,
    "/setup/{client_id}": consent,
    "/consents/{client_id}/designated-user": redesignate,
    "/consents/{client_id}/withdraw": withdraw,
}


def test_every_form_of_the_service_is_pressed_twice_here(house: House) -> None:
    pages = {
        route.path: route.original_route
        for route in iter_route_contexts(house.app.routes)
        if route.path and "POST" in (route.methods or ()) and not route.include_in_schema
    }
    assert {path for path in pages if not path.startswith("/internal/")} == set(FORMS)
    assert all(isinstance(pages[path], FormRoute) for path in FORMS)


#: What one press adds to the audit and to the requests.
CHANGES = {
    "/login": (1, 0),
    "/login/code": (1, 0),
    "/logout": (1, 0),
    "/account/sessions/end-others": (1, 0),
    "/account/password": (1, 0),
    "/account/profile": (1, 0),
    "/account/email": (1, 0),
    "/password/reset": (1, 0),
    "/account/delete": (1, 0),
    "/registrieren/": (2, 0),
    "/registrieren": (2, 0),
    "/register/": (2, 0),
    "/register": (1, 0),
    "/account/second-factor": (1, 0),
    "/account/second-factor/codes": (1, 0),
    "/account/second-factor/remove": (1, 0),
    "/login/second-factor": (1, 0),
    "/integrations/apply": (1, 1),
    "/operations/requests/{request_id}/approve": (2, 0),
    "/operations/requests/{request_id}/decline": (1, 0),
    "/operations/clients/{client_id}/secrets": (1, 0),
    "/operations/clients/{client_id}/secrets/{n}/end": (1, 0),
    "/operations/clients/{client_id}/disable": (1, 0),
    "/operations/clients/{client_id}/edit": (1, 0),
    "/operations/new-client": (1, 0),
    "/operations/people/revoke-role": (1, 0),
    "/operations/people/disable": (1, 0),
    "/operations/people/enable": (1, 0),
    "/operations/people/end-sessions": (1, 0),
    "/setup/{client_id}": (1, 0),
    "/consents/{client_id}/withdraw": (1, 0),
}


async def _changes(house: House) -> tuple[int, int]:
    """How many acts the tenant's audit tells of, and how many requests it has."""
    async with house.register.database.transaction() as connection:
        counts = [
            await connection.scalar(select(func.count()).select_from(table).where(table.c.tenant == house.tenant))
            for table in (audit_entries, integration_requests)
        ]
    return counts[0] or 0, counts[1] or 0


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_that_is_pressed_twice_at_once_is_carried_out_once(house: House, path: str) -> None:
    address, fields = await FORMS[path](house)
    before = await _changes(house)
    cookies = dict(house.http.cookies)
    async with browser(house) as one, browser(house) as other:
        one.cookies.update(cookies)
        other.cookies.update(cookies)
        first, double = await asyncio.gather(*(http.post(address, data=fields, headers=HTML) for http in (one, other)))
    after = await _changes(house)
    assert first.status_code in {200, 303} or path == "/register/confirm/{tenant}/{token}"
    assert double.status_code == first.status_code
    assert double.headers.get("location") == first.headers.get("location")
    assert double.headers.get_list("set-cookie") == first.headers.get_list("set-cookie")
    assert _without_request_id(double) == _without_request_id(first)
    assert [now - then for now, then in zip(after, before, strict=True)] == list(CHANGES.get(path, (0, 0)))


async def test_the_double_of_a_form_is_answered_by_another_replica_as_well(house: House) -> None:
    path, fields = await rotate(house)
    first = await house.http.post(path, data=fields)
    # Another process remembers nothing itself; what it knows lies in the database.
    assert not provided_answers(house)._under_way
    double = await house.http.post(path, data=fields)
    assert (double.status_code, double.headers["location"]) == (303, first.headers["location"])
    other = await house.http.post(path, data=fields | {"overlap_seconds": "0"})
    assert other.headers.get("location") != first.headers["location"]


async def test_a_form_that_was_refused_may_be_sent_again(house: House) -> None:
    email = await house.user(password=None)
    form = await house.login_form() | {"email": email, "password": PASSWORD}
    assert (await house.http.post("/login", data=form)).status_code == 401
    await house.register.users.put(
        house.tenant, "erika", email=email, firstname="Erika", lastname="Mustermann", password=PASSWORD
    )
    assert (await house.http.post("/login", data=form)).status_code == 303


async def test_a_second_tab_signs_in_although_the_first_one_has(house: House) -> None:
    email = await house.user()
    first, second = await house.login_form(), await house.login_form()
    for form in (first, second):
        answer = await house.http.post("/login", data=form | {"email": email, "password": PASSWORD})
        assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert (await house.http.get("/account")).status_code == 200


async def test_a_browser_without_cookies_is_told_so_and_not_that_it_was_slow(house: House) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    for path in ("/login", "/integrations/apply", f"/register?registerCode={code}"):
        page = await house.http.get(path, headers=HTML)
        house.http.cookies.clear()
        typed = {"email": house.address("x"), "password": PASSWORD, "firstname": "A", "lastname": "B"}
        typed |= {"accept_terms": "yes", "accept_privacy": "yes"} | (await apply(house))[1]
        house.http.cookies.clear()
        answer = await house.http.post(path, data=typed | hidden_fields(page.text), headers=HTML)
        assert answer.status_code == 403
        assert "does not keep cookies" in answer.text
        assert "open for too long" not in answer.text


def provided_answers(house: House) -> FormAnswers:
    from shared.dependencies import provided

    return provided(house.app, FormAnswers)


def _without_request_id(answer: httpx.Response) -> str:
    return answer.text.replace(answer.headers["x-request-id"], "")
