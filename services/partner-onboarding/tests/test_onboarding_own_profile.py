"""A person changes the own name at once, and the own address by a link that is mailed to the new one."""

import re

import httpx
import pytest
from partner_onboarding.register.tables import mails
from sqlalchemy import func, text, update

from .integration_partner import audit
from .mail_post import Post
from .onboarding_house import PASSWORD, House, hidden_fields

HTML = {"Accept": "text/html"}
PAGE = "/account/profile"


async def save(house: House, **wanted: str) -> httpx.Response:
    page = await house.http.get(PAGE, headers=HTML)
    same = {"firstname": "Erika", "lastname": "Mustermann", "email": house.address("erika")}
    fields = hidden_fields(page.text) | same | {"present_password": PASSWORD} | wanted
    return await house.http.post(PAGE, data=fields, headers=HTML)


def link_in(mailed: list[tuple[str, str]], recipient: str) -> str:
    """The path of the link that came to this address."""
    [text_of_mail] = [text for to, text in mailed if to == recipient]
    found = re.search(r"(/account/email\?token=\S+)", text_of_mail)
    assert found is not None, text_of_mail
    return found[1]


async def press(house: House, path: str) -> httpx.Response:
    page = await house.http.get(path, headers=HTML)
    if page.status_code != 200:
        return page
    return await house.http.post("/account/email", data=hidden_fields(page.text), headers=HTML)


async def age_links(house: House, interval: str) -> None:
    async with house.register.database.transaction() as connection:
        ago = text(f"interval '{interval}'")
        await connection.execute(
            update(mails)
            .where(mails.c.tenant == house.tenant)
            .values(created_at=mails.c.created_at - ago, sent_at=func.coalesce(mails.c.sent_at, func.now()) - ago)
        )


async def test_a_new_name_counts_at_once_is_audited_without_it_and_told(house: House, post: Post) -> None:
    email = await house.user()
    await house.sign_in(email)
    saved = await save(house, firstname="Rika")
    assert (saved.status_code, saved.headers["location"]) == (303, "/account?profile_changed=1")
    assert "Hello, Rika" in (await house.http.get(saved.headers["location"])).text
    assert ("user:erika", "user_changed", "erika") in await audit(house)
    entries = (await house.http.get("/v1/audit", headers=await house.caller("clients:admin"))).json()["entries"]
    changed = next(entry for entry in entries if entry["action"] == "user_changed")
    assert changed["details"] == {"changed": ["firstname"]}
    [(recipient, told)] = await post.sent()
    assert (recipient, "your name was changed" in told) == (email, True)
    assert (await save(house, firstname="Rika")).status_code == 303
    assert await post.sent() == [], "the same once more changes nothing"


async def test_a_new_address_counts_once_its_link_is_opened_and_the_former_one_is_told(
    house: House, post: Post
) -> None:
    former, moved = await house.user(), house.address("moved")
    await house.sign_in(former)
    assert (await save(house, email=moved)).headers["location"] == "/account?address_asked=1"
    mailed = await post.sent()
    assert {to for to, _ in mailed} == {former, moved}
    link = link_in(mailed, moved)
    assert "token=" not in next(text for to, text in mailed if to == former)
    # Nothing has changed yet, and looking at the link changes nothing.
    await house.http.get(link, headers=HTML)
    assert former in (await house.http.get("/account")).text
    done = await press(house, link)
    assert "Your new e-mail address is in effect from now on." in done.text
    house.http.cookies.clear()
    assert (await house.sign_in(former)).status_code == 401
    assert (await house.sign_in(moved)).status_code == 303
    profile = await house.profile("erika")
    assert profile is not None
    assert (profile["email"], profile["email_verified"]) == (moved, True)
    assert {to for to, text in await post.sent() if "was changed just now" in text} == {former, moved}
    assert (await press(house, link)).status_code == 410, "a link works once"


async def test_only_who_knows_the_password_changes_anything(house: House, post: Post) -> None:
    email = await house.user()
    await house.sign_in(email)
    for wrong, status in (("", 400), ("guess", 400)):
        refused = await save(house, firstname="Rika", present_password=wrong)
        assert refused.status_code == status
        assert 'href="#present_password"' in refused.text
    for n in range(4):
        last = await save(house, firstname="Rika", present_password=f"guess {n}")
    assert last.status_code == 429
    assert await post.sent() == []
    assert "Hello, Erika" in (await house.http.get("/account")).text


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"email": "nonsense"}, "email"),
        ({"email": "a\x00@example.com"}, "email"),
        ({"firstname": "\u200b"}, "firstname"),
        ({"lastname": " "}, "lastname"),
        ({"lastname": ""}, "lastname"),
    ],
)
async def test_what_is_no_name_or_address_is_named(house: House, wanted: dict[str, str], field: str) -> None:
    await house.sign_in(await house.user())
    refused = await save(house, **wanted)
    assert refused.status_code == 400
    assert f'href="#{field}"' in refused.text


async def test_links_are_mailed_once_a_minute_and_only_the_latest_is_good(house: House, post: Post) -> None:
    await house.sign_in(await house.user())
    first, second = house.address("first"), house.address("second")
    await save(house, email=first)
    earlier = link_in(await post.sent(), first)
    refused = await save(house, email=second)
    assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
    await age_links(house, "2 minutes")
    assert (await save(house, email=second)).status_code == 303
    later = link_in(await post.sent(), second)
    assert (await press(house, earlier)).status_code == 410
    await age_links(house, "1 day")
    assert (await press(house, later)).status_code == 410


async def test_an_address_that_somebody_else_owns_stays_theirs_and_is_not_betrayed(house: House, post: Post) -> None:
    owner = await house.user("owner")
    await house.sign_in(await house.user())
    asked = await save(house, email=owner)
    assert asked.headers["location"] == "/account?address_asked=1"
    refused = await press(house, link_in(await post.sent(), owner))
    assert refused.status_code == 409
    assert "belongs to another account" in refused.text
    house.http.cookies.clear()
    assert (await house.sign_in(house.address("erika"))).status_code == 303


async def test_links_that_were_never_mailed_lead_nowhere(house: House) -> None:
    for token in ("", "x", f"{house.tenant}.{'a' * 43}", "%00"):
        assert (await house.http.get(f"/account/email?token={token}", headers=HTML)).status_code == 410
