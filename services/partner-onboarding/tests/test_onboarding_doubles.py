"""Every form is pressed twice at once: it is carried out once, and its double gets the first one's answer."""

import asyncio

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from partner_onboarding.register.tables import audit_entries
from partner_onboarding.third_parties.tables import integration_requests
from shared.web.form_answers import FormAnswers, FormRoute
from sqlalchemy import func, select

from .handshake_partner import Partner
from .handshake_people import browser
from .onboarding_house import PASSWORD, House, hidden_fields
from .pressed_forms import FORMS, HTML, apply, rotate


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
