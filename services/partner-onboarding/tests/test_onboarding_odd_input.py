"""What nobody types: control characters and the like, in the addresses and fields of the pages. Never a 5xx."""

from .handshake_partner import Partner
from .integration_partner import link, sign_in_as, third_party
from .onboarding_house import House, hidden_fields

HTML = {"Accept": "text/html"}
ADDRESSES = (
    "/operations?after=%00",
    "/operations?state=%00",
    "/operations/clients?after=%00",
    "/operations/audit?before=%00",
    "/operations/requests/%00",
    "/consents?after=%00",
    "/consents/%00",
    "/account/unlink?partner=%00",
    "/setup/%00",
    "/registrieren/?registerCode=%00",
    "/register/confirm/%00/%00",
    "/integrations/thanks?reference=%00",
    "/static/%00",
    "/login?next=%00&lang=%00",
)


async def test_addresses_of_pages(house: House) -> None:
    await sign_in_as(house, "tenant_admin", "operator")
    answers = {path: (await house.http.get(path, headers=HTML)).status_code for path in ADDRESSES}
    assert {path: status for path, status in answers.items() if status >= 500} == {}


async def test_fields_of_forms(house: House) -> None:
    await sign_in_as(house, "tenant_admin", "operator")
    token = hidden_fields((await house.http.get("/account")).text)
    client_id = await third_party(house)
    setup = hidden_fields((await house.http.get(f"/setup/{client_id}", params=link())).text)
    application = ("tenant", "name", "organisation", "goals", "scopes", "redirect_uris", "contact_name")
    forms: dict[str, dict[str, str]] = {
        "/account/unlink": {"partner": "\x00"},
        "/register/confirm/%00/%00": {},
        "/register/confirm/demo/%ff": {},
        "/login": {"email": "\x00", "password": "\x00", "tenant": "\x00", "next": "\x00"},
        "/integrations/apply": dict.fromkeys((*application, "contact_email"), "\x00"),
        f"/setup/{client_id}": setup | {"designated_user": "\x00", "decision": "consent", "language": "\x00"},
        f"/setup/{client_id}?again": setup | {"designated_user": "a" * 3000, "decision": "consent"},
        f"/consents/{client_id}/designated-user": {"designated_user": "\x00"},
        "/account/password": {"present_password": "\x00", "password": "\x00"},
        "/account/delete": {"present_password": "\x00"},
        "/password/forgotten": {"email": "\x00"},
        "/password/reset": {"token": "\x00", "password": "\x00"},
        "/operations/requests/0123456789abcdef/decline": {"reason": "\x00"},
        f"/operations/clients/{client_id}/secrets": {"overlap_seconds": "\x00"},
    }
    answers = {
        path: (await house.http.post(path, data=token | fields, headers=HTML)).status_code
        for path, fields in forms.items()
    }
    assert {path: status for path, status in answers.items() if status >= 500} == {}


async def test_a_hint_that_would_turn_the_order_of_what_is_read_is_refused(house: House) -> None:
    partner = await Partner.of(house)
    for hint in ("%00", "%E2%80%AEabc", "a@b.example%E2%80%A8c"):
        answer = await partner.get(f"init-register-handshake?hint={hint}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_hint")
