"""One's own account: mails that confirm, another password, a copy of the data, and leaving for good."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from partner_onboarding.handshake.mail.service import RESEND_PATH, RESENT_PER_DAY
from partner_onboarding.handshake.tables import erasures
from partner_onboarding.register.tables import mails, users
from sqlalchemy import func, select, text, update

from .handshake_partner import Partner
from .handshake_people import GOOD_PASSWORD, browser, decide, fill_in, landed
from .integration_partner import audit
from .mail_post import Post
from .onboarding_house import PASSWORD, House, Shell, hidden_fields

HTML = {"Accept": "text/html"}
ANOTHER = "seven herons over the grey weir"


async def register(post: Post, name: str = "greta", **changes: str) -> str:
    """Somebody new; answers with the user id."""
    partner = await Partner.of(post.house)
    code = (await partner.codes())["registerCode"]
    return landed(await fill_in(post.house.http, code, post.house.address(name), **changes))["userId"]


async def send_form(house: House, path: str, **fields: str) -> httpx.Response:
    page = await house.http.get(path, headers=HTML)
    return await house.http.post(path, data=hidden_fields(page.text) | fields, headers=HTML)


def link_in(text: str) -> str:
    found = re.search(r"https://\S+/register/confirm/\S+", text)
    assert found is not None, text
    return urlsplit(found[0]).path


async def test_the_mailed_link_confirms_by_a_button_and_not_by_being_looked_at(post: Post) -> None:
    user_id = await register(post)
    ((to, text),) = await post.sent()
    assert to == post.house.address("greta")
    assert "Hello Greta" in text
    path = link_in(text)
    for _ in range(3):
        assert (await post.house.http.get(path, headers=HTML)).status_code == 200
    assert post.tokens.used == set()
    assert (await post.house.register.users.get(post.house.tenant, user_id)).email_verified_at is None
    assert "is confirmed" in (await send_form(post.house, path)).text
    assert (await post.house.register.users.get(post.house.tenant, user_id)).email_verified_at is not None
    assert "is confirmed" in (await send_form(post.house, path)).text
    assert await post.sent() == []


async def is_confirmed(post: Post, user_id: str) -> bool:
    """What the issuer gets of a user's address."""
    profile = await post.house.profile(user_id)
    assert profile is not None
    confirmed: bool = profile["email_verified"]
    return confirmed


async def age_mails(post: Post, interval: str) -> None:
    """As if all mails had been requested so much earlier."""
    async with post.house.register.database.transaction() as connection:
        await connection.execute(
            update(mails)
            .where(mails.c.tenant == post.house.tenant)
            .values(created_at=mails.c.created_at - text(f"interval '{interval}'"))
        )


async def test_the_issuer_is_told_that_an_address_is_confirmed_when_it_is(post: Post) -> None:
    user_id = await register(post)
    assert not await is_confirmed(post, user_id)
    ((_, letter),) = await post.sent()
    await send_form(post.house, link_in(letter))
    assert await is_confirmed(post, user_id)


async def test_an_address_that_the_platform_sets_counts_as_confirmed(post: Post) -> None:
    user_id = await register(post)
    body = {"email": post.house.address("other"), "firstname": "Greta", "lastname": "Garten"}
    platform = await post.house.caller("users:write")
    assert (await post.house.http.put(f"/v1/users/{user_id}", json=body, headers=platform)).status_code == 200
    assert await is_confirmed(post, user_id)


async def test_who_has_lost_the_mail_gets_it_again_from_a_page(post: Post) -> None:
    user_id = await register(post)
    ((_, first),) = await post.sent()
    page = await post.house.http.get(RESEND_PATH, headers=HTML)
    assert "Send the e-mail again" in page.text
    # The first one was sent this minute.
    assert "on its way" in (await send_form(post.house, RESEND_PATH)).text
    assert await post.sent() == []
    await age_mails(post, "61 seconds")
    assert "on its way" in (await send_form(post.house, RESEND_PATH)).text
    ((to, second),) = await post.sent()
    assert to == post.house.address("greta")
    assert link_in(second) != link_in(first)
    await send_form(post.house, link_in(second))
    assert await is_confirmed(post, user_id)
    assert "is confirmed" in (await send_form(post.house, RESEND_PATH)).text
    assert await post.sent() == []


async def test_nobody_has_somebody_elses_postbox_filled(post: Post) -> None:
    await register(post)
    sent = len(await post.sent())
    for _ in range(RESENT_PER_DAY + 3):
        await age_mails(post, "61 seconds")
        assert "on its way" in (await send_form(post.house, RESEND_PATH)).text
        sent += len(await post.sent())
    assert sent == RESENT_PER_DAY


async def test_the_mail_is_sent_again_to_who_is_signed_in_alone(house: House) -> None:
    for answer in (await house.http.get(RESEND_PATH), await house.http.post(RESEND_PATH)):
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")
    await house.sign_in(await house.user())
    assert (await house.http.post(RESEND_PATH, data={}, headers=HTML)).status_code == 403


async def test_registering_works_while_token_service_is_down_and_the_mail_comes_later(post: Post) -> None:
    post.tokens.is_down = True
    await register(post)
    assert await post.sent() == []
    post.tokens.is_down = False
    await post.mails.send_due()
    async with post.house.register.database.transaction() as connection:
        await connection.execute(
            update(mails).where(mails.c.tenant == post.house.tenant).values(next_attempt_at=func.now())
        )
    ((_, text),) = await post.sent()
    assert "is confirmed" in (await send_form(post.house, link_in(text))).text


async def test_a_mail_that_cannot_be_written_holds_up_none_behind_it(post: Post) -> None:
    broken = await register(post, "broken")
    post.house.http.cookies.clear()
    await register(post, "greta")
    async with post.house.register.database.transaction() as connection:
        row = (users.c.tenant == post.house.tenant) & (users.c.user_id == broken)
        await connection.execute(update(users).where(row).values(profile=b"nothing that opens"))
    assert [to for to, _ in await post.sent()] == [post.house.address("greta")]
    async with post.house.register.database.transaction() as connection:
        row = (mails.c.tenant == post.house.tenant) & (mails.c.user_id == broken)
        later = (await connection.execute(select(mails.c.next_attempt_at > func.now()).where(row))).scalar_one()
    assert later


async def test_a_link_that_was_used_while_the_database_was_away_confirms_later(post: Post) -> None:
    await register(post)
    ((_, text),) = await post.sent()
    path = link_in(text)
    # Used at token-service; what came of it was not written here.
    post.tokens.used.add(path.rpartition("/")[2])
    assert "is confirmed" in (await send_form(post.house, path)).text


async def test_the_owner_of_a_known_address_is_told_in_the_language_of_the_form(post: Post) -> None:
    owner = await post.house.user("erika")
    partner = await Partner.of(post.house)
    code = (await partner.codes())["registerCode"]
    landed(await fill_in(post.house.http, code, owner, language="de"))
    ((to, text),) = await post.sent()
    assert to == owner
    assert "Sie haben schon ein Konto" in text
    assert "/register/confirm/" not in text


async def test_links_that_were_never_mailed_confirm_nothing(post: Post) -> None:
    await register(post)
    post.tokens.issued["f" * 32] = {"customer_id": "x", "campaign_id": "email-confirmation"}
    for token in ("f" * 32, "0" * 32, "x", "%00"):
        answer = await send_form(post.house, f"/register/confirm/{post.house.tenant}/{token}")
        assert answer.status_code == 410


async def test_an_address_that_somebody_else_has_proven_meanwhile_stays_theirs(post: Post) -> None:
    await register(post)
    ((_, text),) = await post.sent()
    await post.house.user("owner", email=post.house.address("greta"))
    answer = await send_form(post.house, link_in(text))
    assert answer.status_code == 409
    assert "belongs to another account" in answer.text


async def test_a_new_account_signs_in_with_its_own_password_before_the_address_is_confirmed(post: Post) -> None:
    await post.house.user("erika", email=post.house.address("greta"))
    await register(post)
    for password, name in ((GOOD_PASSWORD, "Greta"), (PASSWORD, "Erika")):
        async with browser(post.house) as http:
            page = await http.get("/login", headers=HTML)
            fields = hidden_fields(page.text) | {"email": post.house.address("greta"), "password": password}
            assert (await http.post("/login", data=fields)).status_code == 303
            assert f"Hello, {name}" in (await http.get("/account")).text


async def test_another_password_ends_all_other_sessions_and_tells_the_person(post: Post) -> None:
    email = await post.house.user("erika")
    async with browser(post.house) as elsewhere:
        page = await elsewhere.get("/login", headers=HTML)
        await elsewhere.post("/login", data=hidden_fields(page.text) | {"email": email, "password": PASSWORD})
        await post.house.sign_in(email)
        for present, new, status in ((PASSWORD, "short", 400), ("wrong", ANOTHER, 400), (PASSWORD, ANOTHER, 303)):
            answer = await send_form(post.house, "/account/password", present_password=present, password=new)
            assert answer.status_code == status
        assert "Your password was changed." in (await post.house.http.get("/account?password_changed=1")).text
        assert (await elsewhere.get("/account")).status_code == 303
    ((_, text),) = await post.sent()
    assert "your password was changed" in text


async def test_a_link_that_was_never_mailed_says_nothing_about_tenants(post: Post) -> None:
    pages = []
    for tenant in (post.house.tenant, "t-nobody"):
        answer = await send_form(post.house, f"/register/confirm/{tenant}/{'0' * 32}")
        pages.append((answer.status_code, re.sub(rf"{tenant}|[0-9a-f-]{{32,36}}", "", answer.text)))
    assert pages[0] == pages[1]


async def test_guessing_the_present_password_is_throttled(post: Post) -> None:
    await post.house.sign_in(await post.house.user("erika"))
    statuses = [
        (await send_form(post.house, "/account/delete", present_password=f"guess {n}")).status_code for n in range(5)
    ]
    assert statuses == [400, 400, 400, 400, 429]


async def test_the_copy_of_ones_data_holds_all_that_is_kept(post: Post) -> None:
    user_id = await register(post, lastname="Gärten")
    answer = await post.house.http.get("/account/data")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["user_id"], told["email"], told["lastname"]) == (user_id, post.house.address("greta"), "Gärten")
    assert {(one["document"], one["version"], one["language"]) for one in told["agreements"]} == {
        ("terms", "2026-11", "en"),
        ("privacy", "2026-11", "en"),
    }
    assert [one["name"] for one in told["partners"]] == ["Test"]
    assert len(told["sessions"]) == 1


async def test_a_deleted_account_is_gone_and_what_was_billed_stays(post: Post) -> None:
    partner = await Partner.of(post.house)
    code = (await partner.codes())["registerCode"]
    email = await post.house.user("erika")
    await post.house.sign_in(email)
    assert landed(await decide(post.house.http, code, "link"))["userId"] == "erika"
    await partner.get("activate-user/erika")
    gone = await send_form(post.house, "/account/delete", present_password=PASSWORD)
    assert (gone.status_code, gone.headers["location"]) == (303, "/login?deleted=1")
    assert (await post.house.http.get("/account")).status_code == 303
    assert (await post.house.sign_in(email)).status_code == 401
    assert (await partner.get("activate-user/erika")).status_code == 404
    assert (await partner.remove("erika")).status_code == 404
    told = (await partner.events())["erika"]
    assert (len(told["assignments"]), len(told["removalDates"])) == (1, 1)


async def test_the_ledger_closes_the_account_of_a_person_who_is_gone_also_if_it_was_down(post: Post) -> None:
    house = post.house
    await house.sign_in(await house.user("erika"))
    person = (house.tenant, "erika")
    house.neighbours.balances[person] = (1200, 0)
    house.neighbours.ledger_is_down = True
    of_person = (erasures.c.tenant == house.tenant, erasures.c.user_id == "erika")

    async def journal() -> Any:
        async with house.register.database.transaction() as connection:
            return (await connection.execute(select(erasures).where(*of_person))).one()

    try:
        gone = await send_form(house, "/account/delete", present_password=PASSWORD)
        assert (gone.status_code, gone.headers["location"]) == (303, "/login?deleted=1")
        async with asyncio.timeout(20):
            while not (await journal()).attempts:
                pass
    finally:
        house.neighbours.ledger_is_down = False
    assert (await journal()).account_closed_at is None
    async with asyncio.timeout(20):
        while (await journal()).account_closed_at is None:
            async with house.register.database.transaction() as connection:
                waits = (*of_person, erasures.c.account_closed_at.is_(None))
                await connection.execute(update(erasures).where(*waits).values(next_attempt_at=func.now()))
    assert set(house.neighbours.closed) == {person}


async def test_whoever_has_duties_cannot_leave_alone(post: Post) -> None:
    email = await post.house.user("anna", roles=("tenant_admin",))
    await post.house.sign_in(email)
    refused = await send_form(post.house, "/account/delete", present_password=PASSWORD)
    assert refused.status_code == 409
    assert "duties" in refused.text


@pytest.mark.parametrize("path", ["/account/password", "/account/delete", "/account/unlink", "/account/data"])
async def test_all_of_it_is_for_whoever_is_signed_in(house: House, path: str) -> None:
    answer = await house.http.get(path, headers=HTML)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    if path != "/account/data":
        assert (await house.http.post(path, data={"partner": "x"}, headers=HTML)).status_code == 303


async def test_an_operator_with_a_shell_erases_a_person_as_the_person_could(house: House, shell: Shell) -> None:
    partner = await Partner.of(house)
    email = await house.user("erika")
    await partner.link("erika", datetime.now(UTC))
    await house.sign_in(email)
    erased = await shell("erase-user", "erika", "--tenant", house.tenant)
    assert erased.answer == {"tenant": house.tenant, "user_id": "erika", "erased": True}
    assert (await house.http.get("/account")).status_code == 303
    assert (await house.sign_in(email)).status_code == 401
    assert (await partner.remove("erika")).status_code == 404
    async with house.register.database.transaction() as connection:
        journal = select(erasures.c.user_id).where(erasures.c.tenant == house.tenant)
        assert list((await connection.execute(journal)).scalars()) == ["erika"]
    told = [entry for entry in await audit(house) if entry[2] == "erika"]
    assert told[-2:] == [("shell:", "link_removed", "erika"), ("shell:", "user_deleted", "erika")]
    again = await shell("erase-user", "erika", "--tenant", house.tenant)
    assert (again.exit_code, "user_not_found" in again.stderr) == (1, True)


async def test_whoever_has_duties_is_not_erased_either(house: House, shell: Shell) -> None:
    await house.user("anna", roles=("tenant_admin",))
    refused = await shell("erase-user", "anna", "--tenant", house.tenant)
    assert (refused.exit_code, "account_is_needed" in refused.stderr) == (1, True)
    assert (await house.register.users.get(house.tenant, "anna")).user_id == "anna"
