"""A forgotten password: a mailed link sets another one, once and for half an hour; nobody learns who has an account."""

import asyncio
import re
from urllib.parse import urlsplit

import httpx
import pytest
from partner_onboarding.register.notices.links import LINKS_A_DAY
from partner_onboarding.register.password_resets.service import PasswordResets
from partner_onboarding.register.tables import audit_entries, mails
from shared.dependencies import provided
from sqlalchemy import func, select, text, update

from .handshake_people import GOOD_PASSWORD, browser
from .mail_post import Post
from .onboarding_house import PASSWORD, House, hidden_fields

HTML = {"Accept": "text/html"}


async def ask(house: House, email: str) -> httpx.Response:
    page = await house.http.get("/password/forgotten", headers=HTML)
    return await house.http.post("/password/forgotten", data=hidden_fields(page.text) | {"email": email}, headers=HTML)


async def mailed(post: Post) -> list[tuple[str, str]]:
    await provided(post.house.app, PasswordResets).mail_links()
    return await post.sent()


async def link_for(post: Post, email: str) -> str:
    """The path of the link that came by mail."""
    assert (await ask(post.house, email)).status_code == 200
    ((to, letter),) = await mailed(post)
    assert to == email
    found = re.search(r"https://\S+/password/reset\?token=\S+", letter)
    assert found is not None, letter
    address = urlsplit(found[0])
    return f"{address.path}?{address.query}"


async def set_password(house: House, link: str, password: str = GOOD_PASSWORD) -> httpx.Response:
    page = await house.http.get(link, headers=HTML)
    if page.status_code != 200:
        return page
    fields = hidden_fields(page.text) | {"password": password}
    return await house.http.post("/password/reset", data=fields, headers=HTML)


async def sign_in(house: House, email: str, password: str) -> int:
    async with browser(house) as http:
        page = await http.get("/login", headers=HTML)
        fields = hidden_fields(page.text) | {"email": email, "password": password}
        return (await http.post("/login", data=fields, headers=HTML)).status_code


async def age_links(post: Post, interval: str) -> None:
    """As if all mails had been requested and sent so much earlier."""
    earlier = text(f"interval '{interval}'")
    async with post.house.register.database.transaction() as connection:
        await connection.execute(
            update(mails)
            .where(mails.c.tenant == post.house.tenant)
            .values(created_at=mails.c.created_at - earlier, sent_at=mails.c.sent_at - earlier)
        )


async def test_a_mailed_link_sets_another_password_once_and_ends_all_sessions(post: Post) -> None:
    house = post.house
    email = await house.user()
    async with browser(house) as elsewhere:
        fields = hidden_fields((await elsewhere.get("/login", headers=HTML)).text)
        await elsewhere.post("/login", data=fields | {"email": email, "password": PASSWORD}, headers=HTML)
        assert (await elsewhere.get("/account", headers=HTML)).status_code == 200
        link = await link_for(post, email)
        # Scanners open links, and neither that nor a bad password uses one up.
        assert (await house.http.get(link, headers=HTML)).status_code == 200
        assert (await set_password(house, link, "short")).status_code == 400
        done = await set_password(house, link)
        assert (done.status_code, done.headers["location"]) == (303, "/login?password_reset=1")
        assert (await elsewhere.get("/account", headers=HTML)).status_code == 303
    # It signs nobody in: a second factor must not be passed by.
    assert (await house.http.get("/account", headers=HTML)).status_code == 303
    assert await sign_in(house, email, PASSWORD) == 401
    assert await sign_in(house, email, GOOD_PASSWORD) == 303
    again = await set_password(house, link)
    assert (again.status_code, "unknown_link" in again.text) == (410, True)
    ((_, letter),) = await mailed(post)
    assert "was changed just now" in letter
    async with house.register.database.transaction() as connection:
        acts = select(func.count()).where(
            audit_entries.c.tenant == house.tenant, audit_entries.c.action == "password_reset"
        )
        assert await connection.scalar(acts) == 1


async def test_two_at_once_with_one_link_set_one_password(post: Post) -> None:
    house = post.house
    link = await link_for(post, await house.user())
    async with browser(house) as one, browser(house) as other:
        forms = [hidden_fields((await http.get(link, headers=HTML)).text) for http in (one, other)]
        answers = await asyncio.gather(
            one.post("/password/reset", data=forms[0] | {"password": GOOD_PASSWORD}, headers=HTML),
            other.post("/password/reset", data=forms[1] | {"password": "seven herons over the weir"}, headers=HTML),
        )
    assert sorted(answer.status_code for answer in answers) == [303, 410]


async def test_the_answer_is_the_same_for_every_address(post: Post) -> None:
    known = await post.house.user()
    answers = [await ask(post.house, email) for email in (known, post.house.address("nobody"))]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    assert [to for to, _ in await mailed(post)] == [known]


async def test_a_disabled_account_gets_no_link_and_its_links_end(post: Post) -> None:
    house = post.house
    email = await house.user()
    link = await link_for(post, email)
    await house.register.users.set_disabled(house.tenant, "erika", disabled=True)
    assert (await set_password(house, link)).status_code == 410
    ((_, told),) = await mailed(post)
    assert "your account was locked" in told
    await age_links(post, "2 minutes")
    await ask(house, email)
    assert await mailed(post) == []


async def test_a_link_is_good_for_half_an_hour(post: Post) -> None:
    link = await link_for(post, await post.house.user())
    await age_links(post, "29 minutes")
    assert (await post.house.http.get(link, headers=HTML)).status_code == 200
    await age_links(post, "1 minute")
    assert (await set_password(post.house, link)).status_code == 410


async def test_links_are_mailed_once_a_minute_and_ten_a_day(post: Post) -> None:
    email = await post.house.user()
    await ask(post.house, email)
    await ask(post.house, email)
    assert len(await mailed(post)) == 1
    for _ in range(LINKS_A_DAY + 1):
        await age_links(post, "1 minute")
        await ask(post.house, email)
        await mailed(post)
    async with post.house.register.database.transaction() as connection:
        sent = select(func.count()).where(mails.c.tenant == post.house.tenant, mails.c.kind == "password_forgotten")
        assert await connection.scalar(sent) == LINKS_A_DAY


async def test_a_later_link_of_the_same_person_ends_with_the_first_use(post: Post) -> None:
    email = await post.house.user()
    first = await link_for(post, email)
    await age_links(post, "2 minutes")
    second = await link_for(post, email)
    assert (await set_password(post.house, second)).status_code == 303
    assert (await set_password(post.house, first)).status_code == 410


@pytest.mark.parametrize("token", ["", "x", "demo.", f"demo.{'a' * 43}", "../x." + "a" * 43, "\x00"])
async def test_links_that_were_never_mailed_lead_nowhere(house: House, token: str) -> None:
    answer = await house.http.get("/password/reset", params={"token": token}, headers=HTML)
    assert answer.status_code == 410
    fields = hidden_fields((await house.http.get("/password/forgotten", headers=HTML)).text)
    fields |= {"token": token, "password": GOOD_PASSWORD}
    assert (await house.http.post("/password/reset", data=fields, headers=HTML)).status_code == 410


@pytest.mark.parametrize("email", ["", "no address", "a@b@c.example"])
async def test_what_is_no_address_is_told_so(house: House, email: str) -> None:
    assert (await ask(house, email)).status_code == 400
