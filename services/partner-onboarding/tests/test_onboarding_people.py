"""The operators' pages about people with roles."""

import asyncio

import pytest
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.users.domain import LastOperator
from shared.errors import Refusal

from .integration_partner import sign_in_as
from .mail_post import Post
from .onboarding_house import House, hidden_fields

PAGE = "/operations/people/person?id="
HTML = {"Accept": "text/html"}


async def token(house: House) -> dict[str, str]:
    return hidden_fields((await house.http.get("/account/password")).text)


async def press(house: House, act: str, user_id: str = "erika", **fields: str) -> tuple[int, str]:
    """Decides about somebody on the page; the status, and what the operator then reads."""
    form = await token(house) | {"user_id": user_id} | fields
    answer = await house.http.post(f"/operations/people/{act}", data=form, headers=HTML)
    if answer.status_code == 303:
        return 303, (await house.http.get(answer.headers["location"])).text
    return answer.status_code, answer.text


async def details(house: House, action: str) -> tuple[str, dict[str, object]]:
    """Who did the latest act of this kind, and its details."""
    entries = (await house.http.get("/v1/audit", headers=await house.caller("clients:admin"))).json()["entries"]
    found = next(entry for entry in entries if entry["action"] == action)
    return f"{found['actor_kind']}:{found['actor']}", found["details"]


async def test_people_with_roles_are_listed_by_role(house: House) -> None:
    await house.user("olga", roles=["operator"], firstname="Olga")
    await house.user("timo", roles=["tenant_admin"], firstname="Timo")
    await house.user("plain", firstname="Paula")
    await sign_in_as(house, "operator")
    everybody = (await house.http.get("/operations/people")).text
    assert [name in everybody for name in ("Olga", "Timo", "Bea", "Paula")] == [True, True, True, False]
    operators = (await house.http.get("/operations/people?role=operator")).text
    assert [name in operators for name in ("Olga", "Timo", "Bea")] == [True, False, True]
    found = await house.http.get(f"{PAGE}plain")
    assert (found.status_code, "Paula" in found.text) == (200, True)
    for nobody in ("nobody", "", "%00", "x" * 300):
        assert (await house.http.get(f"{PAGE}{nobody}", headers=HTML)).status_code == 404


async def test_people_of_another_tenant_do_not_exist(house: House) -> None:
    other = await house.another_tenant()
    await house.user("stranger", tenant=other, roles=["operator"], email=house.address("stranger"))
    await sign_in_as(house, "operator")
    assert "stranger" not in (await house.http.get("/operations/people")).text
    assert (await house.http.get(f"{PAGE}stranger", headers=HTML)).status_code == 404
    form = await token(house) | {"user_id": "stranger", "role": "operator"}
    for act in ("disable", "enable", "end-sessions", "revoke-role"):
        answer = await house.http.post(f"/operations/people/{act}", data=form, headers=HTML)
        assert answer.status_code == 404
    assert (await house.register.users.get(other, "stranger")).roles == ("operator",)


@pytest.mark.parametrize(
    ("act", "action", "before", "after", "subject"),
    [
        ("disable", "user_disabled", {"is_disabled": False}, {"is_disabled": True}, "your account was locked"),
        ("end-sessions", "sessions_ended", {"sessions": 1}, {"sessions": 0}, "you were signed out everywhere"),
        ("revoke-role", "role_revoked", {"roles": ["operator"]}, {"roles": []}, "your role was changed"),
    ],
)
async def test_what_an_operator_decides_is_done_audited_and_told_to_the_person(
    house: House, post: Post, act: str, action: str, before: object, after: object, subject: str
) -> None:
    email = await house.user("erika", roles=["operator"])
    async with house.browser() as erikas:
        form = hidden_fields((await erikas.get("/login")).text)
        await erikas.post("/login", data=form | {"email": email, "password": "a long pass phrase"})
        assert (await erikas.get("/account")).status_code == 200
        await sign_in_as(house, "operator")
        asked = (await house.http.get(f"{PAGE}erika")).text
        assert "1 session" in asked
        status, _ = await press(house, act, role="operator")
        assert status == 303
        assert (await erikas.get("/account")).status_code == 303
    who, told = await details(house, action)
    assert who == "operator:boss"
    assert (told["before"], told["after"]) == (before, after)
    [text] = [text for recipient, text in await post.sent() if recipient == email and "new client" not in text]
    assert subject in text


async def test_a_locked_account_is_unlocked_again(house: House, post: Post) -> None:
    email = await house.user("erika", roles=["operator"])
    await sign_in_as(house, "operator")
    assert "The account is locked" in (await press(house, "disable"))[1]
    assert "Unlock the account" in (await house.http.get(f"{PAGE}erika")).text
    assert "The account is unlocked" in (await press(house, "enable"))[1]
    who, told = await details(house, "user_enabled")
    assert who == "operator:boss"
    assert told == {"before": {"is_disabled": True}, "after": {"is_disabled": False}}
    told_erika = sorted(text.partition("\n")[0] for to, text in await post.sent() if to == email)
    assert [subject.partition(": ")[2] for subject in told_erika if "new client" not in subject] == [
        *("your account is unlocked", "your account was locked")
    ]
    house.http.cookies.clear()
    assert (await house.sign_in(email)).status_code == 303


async def test_nobody_ends_the_own_role_or_account(house: House) -> None:
    await house.user("erika", roles=["operator"])
    await sign_in_as(house, "operator")
    page = (await house.http.get(f"{PAGE}boss")).text
    assert "This is your own account." in page
    assert "/operations/people/disable" not in page
    for act in ("disable", "revoke-role"):
        status, text = await press(house, act, "boss", role="operator")
        assert status == 409
        assert "This is your own account." in text
    assert (await house.http.get("/operations/people")).status_code == 200


async def test_the_last_operator_stays_even_if_two_end_one_another(house: House) -> None:
    for name in ("anna", "bert"):
        await house.user(name, roles=["operator"])
    # One who has no password signs in nowhere.
    await house.user("never", roles=["operator"], password=None)
    users, tenant = house.register.users, house.tenant

    async def end(user_id: str, by: str) -> Refusal | None:
        try:
            await users.revoke_role(tenant, user_id, "operator", by=Actor("operator", by))
        except Refusal as refusal:
            return refusal
        return None

    ended = await asyncio.gather(end("anna", "bert"), end("bert", "anna"))
    assert [type(one) for one in ended if one is not None] == [LastOperator]
    left = [user.user_id for user in await users.list_users(tenant, ("operator",)) if user.password_hash]
    assert len(left) == 1
    with pytest.raises(LastOperator):
        await users.set_disabled(tenant, left[0], disabled=True, by=Actor("operator", "somebody"))


async def test_the_audit_shows_what_was_before_and_after(house: House) -> None:
    await house.user("erika", roles=["operator"])
    await sign_in_as(house, "operator")
    await press(house, "revoke-role", role="operator")
    page = (await house.http.get("/operations/audit")).text
    assert "<code>roles</code> <del>operator</del> <ins>none</ins>" in page
