"""Every address that takes a form, and how a person comes to its button."""

from collections.abc import Awaitable, Callable

from partner_onboarding.register.notices.links import new_token
from partner_onboarding.register.tables import mails, users
from sqlalchemy import insert, select

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
