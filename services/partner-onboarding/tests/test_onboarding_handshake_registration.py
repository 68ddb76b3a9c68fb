"""The whole handshake, from the codes to the landing page, and every way in which it can end otherwise."""

import asyncio
import secrets

import httpx
import pytest
from partner_onboarding.app import create_app
from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.tables import agreements, handshakes, links
from partner_onboarding.register.tables import mails, users
from partner_onboarding.settings import Settings
from platform_testing.serving import running
from shared.errors import Unavailable
from sqlalchemy import func, select

from .handshake_partner import Partner
from .handshake_people import FORM, GOOD_PASSWORD, FakeTokens, browser, decide, fill_in, landed
from .onboarding_house import FAST, House, hidden_fields

HTML = {"Accept": "text/html"}


async def count(house: House, table: object, **where: object) -> int:
    async with house.register.database.transaction() as connection:
        query = select(func.count()).select_from(table)  # type: ignore[arg-type]  # one of our tables
        for name, value in where.items():
            query = query.where(table.c[name] == value)  # type: ignore[attr-defined]  # its columns
        number: int = (await connection.execute(query)).scalar_one()
        return number


@pytest.mark.parametrize("path", ["/registrieren/", "/registrieren", "/register/", "/register"])
async def test_a_new_person_registers_and_lands_with_the_private_code(house: House, path: str) -> None:
    partner = await Partner.of(house)
    codes = await partner.codes()
    done = await fill_in(house.http, codes["registerCode"], house.address("greta"), path=path)
    carried = landed(done)
    assert set(carried) == {"authorizationCode", "userId"}
    assert carried["authorizationCode"] == codes["authorizationCode"]
    assert done.headers["cache-control"] == "no-store"
    assert done.headers["referrer-policy"] == "no-referrer"
    account = await house.http.get("/account", headers=HTML)
    assert "Hello, Greta" in account.text
    assert (await partner.get(f"activate-user/{carried['userId']}")).status_code == 200
    assert set(await partner.events()) == {carried["userId"]}
    assert await count(house, agreements, user_id=carried["userId"]) == 2


async def test_the_private_code_leads_to_the_user_once_from_server_to_server(house: House) -> None:
    partner, other = await Partner.of(house), await Partner.of(house)
    codes = await partner.codes()
    body = {"authorizationCode": codes["authorizationCode"]}
    early = await partner.post("redeem-handshake", body)
    assert (early.status_code, early.json()["code"]) == (409, "handshake_not_completed")
    carried = landed(await fill_in(house.http, codes["registerCode"], house.address("greta")))
    foreign = await other.post("redeem-handshake", body)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "handshake_not_found")
    key = {"Idempotency-Key": secrets.token_hex(8)}
    redeemed = await partner.post("redeem-handshake", body, **key)
    assert (redeemed.status_code, redeemed.json()) == (200, {"userId": carried["userId"]})
    assert (await partner.post("redeem-handshake", body, **key)).json() == redeemed.json()
    again = await partner.post("redeem-handshake", body)
    assert (again.status_code, again.json()["code"]) == (409, "handshake_already_redeemed")


@pytest.mark.parametrize("code", ["", "short", "0" * 22, "x" * 500, "%00"])
async def test_a_malformed_private_code_is_refused(house: House, code: str) -> None:
    partner = await Partner.of(house)
    assert (await partner.post("redeem-handshake", {"authorizationCode": code})).status_code == 400


async def test_a_signed_in_person_is_asked_and_links(house: House) -> None:
    partner = await Partner.of(house)
    codes = await partner.codes()
    await house.sign_in(await house.user("erika"))
    question = await house.http.get(FORM, params={"registerCode": codes["registerCode"]}, headers=HTML)
    assert 'name="decision" value="link"' in question.text
    assert 'name="password"' not in question.text
    assert landed(await decide(house.http, codes["registerCode"], "link")) == {
        "authorizationCode": codes["authorizationCode"],
        "userId": "erika",
    }
    # Two clicks on one button: the second leads to the same end, and links nothing again.
    assert landed(await decide(house.http, codes["registerCode"], "link"))["userId"] == "erika"
    assert await count(house, links, user_id="erika", client_id=partner.client_id) == 1


@pytest.mark.parametrize("signed_in", [True, False])
async def test_whoever_refuses_is_sent_back_with_access_denied_and_the_code_is_used(
    house: House, signed_in: bool
) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    if signed_in:
        await house.sign_in(await house.user("erika"))
    refused = await decide(house.http, code, "cancel")
    assert landed(refused) == {"error": "access_denied"}
    page = await house.http.get(FORM, params={"registerCode": code}, headers=HTML)
    assert (page.status_code, "location" in page.headers) == (410, False)
    assert await partner.events() == {}


async def test_whoever_is_linked_already_comes_back_all_the_same(house: House) -> None:
    partner = await Partner.of(house)
    await house.sign_in(await house.user("erika"))
    for _ in range(2):
        codes = await partner.codes()
        assert landed(await decide(house.http, codes["registerCode"], "link"))["userId"] == "erika"
        assert (await partner.get("activate-user/erika")).status_code == 200
    assert len((await partner.events())["erika"]["assignments"]) == 1
    codes = await partner.codes()
    question = await house.http.get(FORM, params={"registerCode": codes["registerCode"]}, headers=HTML)
    assert "is linked with Test already" in question.text


@pytest.mark.parametrize("code", ["", "short", "1" * 22, "x" * 5000, "\x00", "ÄÖÜ", "vrQc4sFaJGbpoga4AjuanC"])
async def test_an_unknown_code_gets_a_page_and_no_redirect(house: House, code: str) -> None:
    page = await house.http.get(FORM, params={"registerCode": code}, headers=HTML)
    assert (page.status_code, "location" in page.headers) == (400, False)
    assert "This link is not valid" in page.text
    posted = await house.http.post(FORM, params={"registerCode": code}, data={"email": "a@b.example"}, headers=HTML)
    assert (posted.status_code, "location" in posted.headers) == (400, False)


async def test_an_expired_code_gets_a_page_and_no_redirect(house: House) -> None:
    partner = await Partner.of(house)
    codes = await partner.codes()
    page = await house.http.get(FORM, params={"registerCode": codes["registerCode"]}, headers=HTML)
    assert page.status_code == 200
    await partner.let_codes_expire()
    for answer in (
        await house.http.get(FORM, params={"registerCode": codes["registerCode"]}, headers=HTML),
        await house.http.post(FORM, params={"registerCode": codes["registerCode"]}, data={"email": "x"}, headers=HTML),
    ):
        assert (answer.status_code, "location" in answer.headers) == (410, False)
        assert "This link has expired" in answer.text
    late = await partner.post("redeem-handshake", {"authorizationCode": codes["authorizationCode"]})
    assert (late.status_code, late.json()["code"]) == (410, "handshake_expired")


async def test_a_used_code_is_of_no_use_to_anybody_else(house: House) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    landed(await fill_in(house.http, code, house.address("greta")))
    async with browser(house) as other:
        page = await other.get(FORM, params={"registerCode": code}, headers=HTML)
        assert (page.status_code, "location" in page.headers) == (410, False)
        assert "This link has been used already" in page.text


async def test_the_same_form_twice_is_no_mistake(house: House) -> None:
    """A second click sends the form again before the browser has heard of the first answer's cookie."""
    partner = await Partner.of(house)
    codes = await partner.codes()
    async with browser(house) as http:
        page = await http.get(FORM, params={"registerCode": codes["registerCode"]}, headers=HTML)
        fields = hidden_fields(page.text) | {
            "email": house.address("greta"),
            "password": GOOD_PASSWORD,
            "firstname": "Greta",
            "lastname": "Garten",
            "accept_terms": "yes",
            "accept_privacy": "yes",
        }
        form_key = http.cookies["__Host-form_key"]
        answers = []
        for _ in range(2):
            http.cookies.clear()
            http.cookies.set("__Host-form_key", form_key)
            answers.append(
                await http.post(FORM, params={"registerCode": codes["registerCode"]}, data=fields, headers=HTML)
            )
        assert landed(answers[0]) == landed(answers[1])
        http.cookies.clear()
        http.cookies.set("__Host-form_key", form_key)
        guess = await http.post(
            FORM, params={"registerCode": codes["registerCode"]}, data=fields | {"password": "x" * 20}, headers=HTML
        )
        assert guess.status_code == 410


async def test_a_code_of_another_tenants_partner_gets_a_page(house: House) -> None:
    elsewhere = await house.another_tenant()
    partner = await Partner.of(house, tenant=elsewhere)
    code = (await partner.codes())["registerCode"]
    await house.sign_in(await house.user("erika"))
    page = await house.http.get(FORM, params={"registerCode": code}, headers=HTML)
    assert (page.status_code, "location" in page.headers) == (400, False)
    assert "You are signed in somewhere else" in page.text
    posted = await decide(house.http, code, "link")
    assert posted.status_code == 400
    assert await partner.events() == {}


async def test_a_partner_taken_out_of_use_in_between_gets_nobody(house: House) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    await house.sign_in(await house.user("erika"))
    page = await house.http.get(FORM, params={"registerCode": code}, headers=HTML)
    assert page.status_code == 200
    await house.register.clients.disable(house.tenant, partner.client_id)
    for answer in (await decide(house.http, code, "link"), await decide(house.http, code, "cancel")):
        assert (answer.status_code, "location" in answer.headers) == (410, False)
    assert await count(house, links, client_id=partner.client_id) == 0


async def test_of_two_people_with_one_code_one_registers_and_the_other_leaves_no_trace(house: House) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    async with browser(house) as one, browser(house) as two:
        answers = await asyncio.gather(
            fill_in(one, code, house.address("one")), fill_in(two, code, house.address("two"))
        )
    assert sorted(answer.status_code for answer in answers) == [303, 410]
    assert len(await partner.events()) == 1
    assert await count(house, users, tenant=house.tenant) == 1


async def test_a_person_in_a_race_against_a_signed_in_one_is_one_of_two(house: House) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    async with browser(house) as other:
        page = await other.get(FORM, params={"registerCode": code}, headers=HTML)
        assert page.status_code == 200
        await house.sign_in(await house.user("erika"))
        answers = await asyncio.gather(decide(house.http, code, "link"), fill_in(other, code, house.address("two")))
    assert sorted(answer.status_code for answer in answers) == [303, 410]
    assert len(await partner.events()) == 1


async def test_the_database_failing_at_the_last_step_is_told_to_the_partner(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]

    async def fail(*_: object) -> str:
        raise Unavailable(log="the database is down")

    with monkeypatch.context() as patch:
        patch.setattr(Handshakes, "link", fail)
        carried = landed(await fill_in(house.http, code, house.address("greta")))
    assert carried["error"] == "could_not_connect_athlete_to_partner"
    assert set(carried) == {"error", "userId"}
    assert (await partner.get(f"activate-user/{carried['userId']}")).status_code == 403
    # The account is there, and the code is still this person's: trying again helps.
    assert landed(await decide(house.http, code, "link"))["userId"] == carried["userId"]


async def test_without_landing_url_the_end_is_a_page(house: House) -> None:
    partner = await Partner.of(house, landing_url=None)
    code = (await partner.codes())["registerCode"]
    done = await fill_in(house.http, code, house.address("greta"))
    assert done.status_code == 200
    assert "You are linked" in done.text


async def test_the_pages_show_for_which_partner_and_for_whom(house: House) -> None:
    partner = await Partner.of(house)
    for hint, shown in (("erika.m@example.com", "e•••@example.com"), ("Erika Mustermann", "E••• M•••")):
        code = (await partner.codes(hint))["registerCode"]
        page = (await house.http.get(FORM, params={"registerCode": code}, headers=HTML)).text
        assert "Test asks you to link your account." in page
        assert shown in page
        assert hint not in page
    await house.sign_in(await house.user("max"))
    assert shown in (await house.http.get(FORM, params={"registerCode": code}, headers=HTML)).text


async def test_whether_an_address_is_known_does_not_show(house: House) -> None:
    partner = await Partner.of(house)
    known = await house.user("erika")
    answers = []
    for email in (known, house.address("nobody")):
        async with browser(house) as http:
            answers.append(await fill_in(http, (await partner.codes())["registerCode"], email))
    carried = [landed(answer) for answer in answers]
    assert [set(one) for one in carried] == [{"authorizationCode", "userId"}] * 2
    assert sorted(answers[0].headers) == sorted(answers[1].headers)
    # It is another account; the known one was not touched, and its owner still signs in.
    assert carried[0]["userId"] != "erika"
    assert (await house.sign_in(known)).status_code == 303
    kinds = {}
    async with house.register.database.transaction() as connection:
        for row in await connection.execute(select(mails).where(mails.c.tenant == house.tenant)):
            kinds[row.user_id] = row.kind
    assert [kinds[one["userId"]] for one in carried] == ["address_known", "confirm_address"]


async def test_whoever_gives_the_password_of_a_known_account_means_that_one(house: House) -> None:
    partner = await Partner.of(house)
    codes = await partner.codes()
    email = await house.user("erika", password=GOOD_PASSWORD)
    answer = await fill_in(house.http, codes["registerCode"], email)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/registrieren/?registerCode=")
    assert landed(await decide(house.http, codes["registerCode"], "link"))["userId"] == "erika"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nonsense"}, "email"),
        ({"email": ""}, "email"),
        ({"firstname": " "}, "firstname"),
        ({"lastname": "x" * 101}, "lastname"),
        ({"lastname": "a\x00b"}, "lastname"),
        ({"password": ""}, "password"),
        ({"password": "only 14 letter"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"password": "passwordpassword"}, "password"),
        ({"password": "Sommer2024Sommer2024"}, "password"),
        ({"password": "Greta.Garten.1990"}, "password"),
        ({"accept_terms": ""}, "accept_terms"),
        ({"accept_privacy": "no"}, "accept_privacy"),
    ],
)
async def test_a_mistake_is_told_beside_its_field_and_uses_nothing_up(
    house: House, change: dict[str, str], field: str
) -> None:
    partner = await Partner.of(house)
    codes = await partner.codes()
    wrong = await fill_in(house.http, codes["registerCode"], **{"email": house.address("greta")} | change)
    assert wrong.status_code == 400
    assert f'id="{field}-error"' in wrong.text
    assert f'<a href="#{field}">' in wrong.text
    assert GOOD_PASSWORD not in wrong.text
    assert await count(house, users, tenant=house.tenant) == 0
    landed(await fill_in(house.http, codes["registerCode"], house.address("greta")))


async def test_a_form_without_its_token_is_shown_again_with_what_was_typed(house: House) -> None:
    partner = await Partner.of(house)
    code = (await partner.codes())["registerCode"]
    forged = await fill_in(house.http, code, house.address("greta"), csrf_token="forged")
    assert forged.status_code == 403
    assert 'value="Greta"' in forged.text
    assert await count(house, users, tenant=house.tenant) == 0


async def test_pages_are_not_kept_not_framed_and_say_nothing_to_other_sites(house: House) -> None:
    partner = await Partner.of(house)
    page = await house.http.get(FORM, params={"registerCode": (await partner.codes())["registerCode"]}, headers=HTML)
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "samesite=lax" in page.headers["set-cookie"].lower()


async def test_too_many_forms_for_one_address_wait(house: House, settings: Settings) -> None:
    tokens = httpx.ASGITransport(FakeTokens().app())
    app = create_app(settings.model_copy(update={"registrations_per_email": 1}), cost=FAST, tokens_transport=tokens)
    partner = await Partner.of(house)
    async with running(app) as http:
        landed(await fill_in(http, (await partner.codes())["registerCode"], house.address("greta")))
        http.cookies.clear()
        late = await fill_in(http, (await partner.codes())["registerCode"], house.address("greta"))
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) > 0


async def test_a_hundred_people_at_once_all_arrive(house: House, settings: Settings) -> None:
    """With connections enough that nobody waits for one for longer than the pool lets them, on a slow machine too."""
    app = create_app(
        settings.model_copy(update={"database_pool_size": 40, "database_wait_seconds": 120.0}),
        cost=FAST,
        tokens_transport=httpx.ASGITransport(FakeTokens().app()),
    )
    partner = await Partner.of(house)

    async def arrive(number: int) -> str:
        codes = await partner.codes()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=house.http.base_url) as http:
            carried = landed(await fill_in(http, codes["registerCode"], house.address(f"person{number}")))
        assert carried["authorizationCode"] == codes["authorizationCode"]
        return carried["userId"]

    async with running(app):
        arrived = await asyncio.gather(*(arrive(number) for number in range(100)))
    for user_id in arrived:
        assert (await partner.get(f"activate-user/{user_id}")).status_code == 200
    events = await partner.events()
    assert set(events) == set(arrived)
    assert all(len(one["assignments"]) == 1 for one in events.values())


async def test_neither_code_lies_in_the_tables(house: House) -> None:
    partner = await Partner.of(house)
    codes = await partner.codes("erika.m@example.com")
    landed(await fill_in(house.http, codes["registerCode"], house.address("greta")))
    async with house.register.database.transaction() as connection:
        rows = (await connection.execute(select(handshakes).where(handshakes.c.tenant == house.tenant))).all()
    kept = repr([tuple(row) for row in rows])
    for secret in (codes["registerCode"], codes["authorizationCode"], "erika.m"):
        assert secret not in kept
