"""What operators and applicants hear by mail: new secrets, waiting requests, decisions."""

from dataclasses import replace

import pytest
from partner_onboarding.register.audit.domain import APPLICANT, Actor
from partner_onboarding.register.tables import mails
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.build import ThirdParties, build_third_parties
from partner_onboarding.third_parties.integrations.domain import CompanyUnknown, Particulars, Wish
from platform_testing.callers import basic
from sqlalchemy import func, select, update

from .handshake_partner import Partner
from .handshake_people import fill_in, landed
from .integration_partner import REQUEST, submit
from .mail_post import Post
from .onboarding_house import House, hidden_fields


async def everything(post: Post) -> list[tuple[str, str]]:
    """Mails to anybody of this test; the tenant stands in each address of `House.address`."""
    return sorted(await post.sent())


def wish(house: House, *, language: str = "en") -> Wish:
    texts = {name: REQUEST[name] for name in ("name", "organisation", "goals", "contact_name", "details")}
    particulars = Particulars(**texts, contact_email=house.address("ines"), language=language)
    return Wish(particulars, ("points:read",), ("https://integrator.example/callback",))


def with_platform_tenant(house: House, settings: Settings, tenant: str | None) -> ThirdParties:
    return build_third_parties(
        replace(house.register, settings=settings.model_copy(update={"platform_tenant": tenant}))
    )


async def test_the_other_operators_hear_of_a_new_secret_and_not_the_secret(house: House, post: Post) -> None:
    client_id, _ = await house.client("points:read")
    for name in ("anna", "bert"):
        await house.user(name, roles=["operator"])
    await house.user("never", roles=["operator"], password=None)
    await house.user("timo", roles=["tenant_admin"])
    await house.sign_in(house.address("anna"))
    path = f"/operations/clients/{client_id}"
    form = hidden_fields((await house.http.get(path)).text) | {"overlap_seconds": "3600"}
    handover = await house.http.post(f"{path}/secrets", data=form)
    shown = (await house.http.get(handover.headers["location"])).text
    [(recipient, text)] = await everything(post)
    assert recipient == house.address("bert")
    assert "new secret for “Test”" in text
    assert "Operator anna" in text
    assert f"/operations/clients/{client_id}" in text
    secret = shown.partition('id="client_secret">')[2].partition("<")[0]
    assert len(secret) > 40
    assert secret not in text


async def test_a_new_client_is_told_to_all_operators_when_a_shell_makes_it(house: House, post: Post) -> None:
    await house.user("anna", roles=["operator"])
    await house.client("points:read", ip_allow_list=("192.0.2.0/24",))
    [(recipient, text)] = await everything(post)
    assert recipient == house.address("anna")
    assert "new client “Test”" in text
    assert "Command line" in text


@pytest.mark.parametrize(("scope", "told"), [("points:read", 0), ("clients:admin", 1)])
async def test_a_client_that_rotates_its_own_secret_is_told_of_only_where_it_may_register_others(
    house: House, post: Post, scope: str, told: int
) -> None:
    credentials = await house.client(scope)
    await house.user("anna", roles=["operator"])
    answer = await house.http.post("/v1/clients/self/secrets", headers=basic(*credentials))
    assert answer.status_code == 201
    assert len(await everything(post)) == told


async def test_the_applicant_hears_of_receipt_and_approval_and_operators_of_waiting_requests(
    house: House, post: Post
) -> None:
    await house.user("anna", roles=["operator"])
    contact = house.address("ines")
    request_id = await submit(house, contact_email=contact)
    await submit(house, contact_email=contact)
    received = await everything(post)
    assert [to for to, _ in received] == [house.address("anna"), contact, contact], "the operator is called once"
    assert "an integration request is waiting" in received[0][1]
    assert f"We have your request {request_id}".lower() in (received[1][1] + received[2][1]).lower()
    await house.sign_in(house.address("anna"))
    path = f"/operations/requests/{request_id}"
    await house.http.post(f"{path}/approve", data=hidden_fields((await house.http.get(path)).text))
    [(recipient, text)] = await everything(post)
    assert (recipient, f"your request {request_id} was approved" in text) == (contact, True)


async def test_a_declined_applicant_hears_the_reason_in_the_language_of_the_form(house: House, post: Post) -> None:
    answer = await house.http.post(
        "/v1/integration-requests",
        json=REQUEST | {"tenant": house.tenant, "contact_email": house.address("ines")},
        headers={"Accept-Language": "de-AT"},
    )
    assert "ist eingegangen" in (await everything(post))[0][1]
    request_id = answer.json()["request_id"]
    integrations = build_third_parties(house.register).integrations
    await integrations.decline(house.tenant, request_id, "Zu viele Daten.", by=Actor("operator", "x"))
    [(_, text)] = await everything(post)
    assert f"Ihr Antrag {request_id} ist abgelehnt" in text
    assert "Zu viele Daten." in text


async def test_mails_to_an_address_that_anybody_may_have_typed_repeat_nothing_of_the_form(
    house: House, post: Post
) -> None:
    typed = {"name": "BUY NOW", "organisation": "CHEAP PILLS", "contact_name": "PILLS AT PILLS", "goals": "VISIT PILLS"}
    for _ in range(7):
        await submit(house, contact_email=house.address("victim"), **typed)
    sent = await everything(post)
    assert len(sent) == 5, "an address gets five of them a day"
    for _, text in sent:
        assert "PILLS" not in text
        assert "BUY" not in text


async def test_the_mail_does_not_tell_whether_there_is_such_a_tenant(house: House, post: Post) -> None:
    known = await submit(house, contact_email=house.address("ines"))
    unknown = await submit(house, tenant="nobody-has-this", contact_email=house.address("ines"))
    texts = [text for _, text in await everything(post)]
    assert len(texts) == 2
    assert len({text.replace(known, "R").replace(unknown, "R") for text in texts}) == 1
    assert house.tenant not in texts[0]


async def test_a_request_for_nobodys_company_reaches_the_platforms_operators_and_is_declined(
    house: House, settings: Settings, post: Post
) -> None:
    await house.user("anna", roles=["operator"])
    parties = with_platform_tenant(house, settings, house.tenant)
    receipt = await parties.applications.submit_by_form("Acme & Sons", wish(house), network="192.0.2.0/24")
    assert [to for to, _ in await everything(post)] == [house.address("anna"), house.address("ines")]
    await house.sign_in(house.address("anna"))
    path = f"/operations/requests/{receipt.request_id}"
    page = (await house.http.get(path)).text
    assert "Acme &amp; Sons" in page
    assert f"{path}/approve" not in page
    refused = await house.http.post(f"{path}/approve", data=hidden_fields(page))
    assert (refused.status_code, refused.json()["code"]) == (409, "company_unknown")
    with pytest.raises(CompanyUnknown):
        await parties.integrations.approve(house.tenant, receipt.request_id, by=Actor("operator", "anna"))
    declined = await house.http.post(f"{path}/decline", data=hidden_fields(page) | {"reason": "No such company."})
    assert declined.status_code == 303
    assert "No such company." in (await everything(post))[0][1]


@pytest.mark.parametrize("platform", [None, "nobody-has-this-either"])
async def test_without_operators_of_the_platform_such_a_request_is_answered_all_the_same(
    house: House, settings: Settings, post: Post, platform: str | None
) -> None:
    parties = with_platform_tenant(house, settings, platform)
    receipt = await parties.applications.submit_by_form("Acme", wish(house), network="192.0.2.0/24")
    assert len(receipt.request_id) == 16
    assert [to for to, _ in await everything(post)] == [house.address("ines")]


async def test_operators_are_called_again_only_after_a_pause(house: House, post: Post) -> None:
    await house.user("anna", roles=["operator"])
    applications = build_third_parties(house.register).applications

    async def ask() -> list[str]:
        async with house.register.database.transaction() as connection:
            await applications.submit(connection, house.tenant, wish(house), by=APPLICANT, mails_contact=False)
        return [to for to, _ in await everything(post)]

    of_test = (mails.c.tenant == house.tenant, mails.c.kind == "requests_wait")
    assert await ask() == [house.address("anna")]
    assert await ask() == []
    assert await ask() == []
    async with house.register.database.transaction() as connection:
        waiting = select(func.count()).where(*of_test, mails.c.next_attempt_at.is_not(None))
        assert (await connection.execute(waiting)).scalar_one() == 1
        await connection.execute(
            update(mails).where(*of_test, mails.c.sent_at.is_(None)).values(next_attempt_at=func.now())
        )
    assert [to for to, _ in await everything(post)] == [house.address("anna")]


async def test_a_copy_of_the_tables_names_no_applicant(house: House) -> None:
    await submit(house, contact_email=house.address("ines"))
    async with house.register.database.transaction() as connection:
        rows = (await connection.execute(select(mails).where(mails.c.user_id.is_(None)))).all()
    assert rows
    assert not [row for row in rows if house.address("ines").encode() in b"".join((row.recipient, row.facts))]


async def test_the_client_that_the_service_makes_for_itself_is_told_to_nobody(house: House, post: Post) -> None:
    code = (await (await Partner.of(house)).codes())["registerCode"]
    await house.user("anna", roles=["operator"])
    landed(await fill_in(house.http, code, house.address("greta")))
    [(recipient, _)] = await everything(post)
    assert recipient == house.address("greta")
    # Its link was made by the service's own client, which is new in this tenant.
    listed = await house.register.clients.list_clients(house.tenant, after="", limit=10)
    assert [one.client.client_id for one in listed if one.client.client_id.startswith("mails.")] != []
