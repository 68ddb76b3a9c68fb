"""A person's copy of the own data is whole: what stands here, at the ledger, at the issuer, and in consents."""

import pytest

from .handshake_people import GOOD_PASSWORD
from .integration_partner import decide, sign_in_as, third_party
from .mail_post import Post
from .onboarding_house import House
from .test_onboarding_handshake_accounts import ANOTHER, register, send_form
from .test_onboarding_statement import HOLD, entry


async def test_the_copy_has_points_entries_and_the_shops_that_were_told(post: Post) -> None:
    house = post.house
    await house.sign_in(await house.user("erika"))
    person = (house.tenant, "erika")
    assert (await house.http.get("/account/data")).json()["points"] is None
    house.neighbours.balances[person] = (1_000, 250)
    house.neighbours.entries[person] = [entry(number) for number in range(1_201, 0, -1)]
    house.neighbours.holds[person] = [HOLD]
    house.neighbours.vendors[house.tenant] = [{"vendor_id": "shop", "name": "Rewards <Shop>"}]
    told = {"vendor_id": "shop", "points": 1_250, "issued_at": "2026-11-20T10:30:00.000Z", "redeemed_at": None}
    house.neighbours.issuances[person] = [told, told, told | {"vendor_id": "gone"}]
    copy = (await house.http.get("/account/data")).json()
    points = copy["points"]
    assert (points["available"], points["held"], len(points["entries"])) == (1_000, 250, 1_201)
    assert points["entries"][-1]["reason"] == "reason 1"
    assert points["holds"] == [{name: HOLD[name] for name in ("vendor_id", "points", "created_at", "expires_at")}]
    assert copy["shops_told"] == [
        *([told | {"name": "Rewards <Shop>"}] * 2),
        told | {"vendor_id": "gone", "name": "gone"},
    ]


@pytest.mark.parametrize("neighbour", ["ledger_is_down", "issuer_is_down"])
async def test_a_copy_is_whole_or_there_is_none(post: Post, neighbour: str) -> None:
    await post.house.sign_in(await post.house.user("erika"))
    setattr(post.house.neighbours, neighbour, True)
    assert (await post.house.http.get("/account/data")).status_code == 503


async def test_the_copy_has_the_mails_that_were_sent(post: Post) -> None:
    await register(post)
    await post.sent()
    await send_form(post.house, "/account/password", present_password=GOOD_PASSWORD, password=ANOTHER)
    await post.sent()
    mails = (await post.house.http.get("/account/data")).json()["mails"]
    assert [(one["kind"], one["language"], one["to"], one["sent_at"] is not None) for one in mails] == [
        ("confirm_address", "en", None, True),
        ("password_changed", "en", None, True),
    ]
    assert all(f"Tenant {post.house.tenant}" in one["subject"] for one in mails)


async def test_the_copy_has_the_consents_that_name_the_person(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    email = await house.user("robot")
    client_id = await third_party(house)
    await decide(house, client_id, designated_user=email)
    (decided,) = (await house.http.get("/account/data")).json()["consents"]
    assert (decided["decided"], decided["is_api_user"]) == (True, False)
    house.http.cookies.clear()
    await house.sign_in(email)
    (named,) = (await house.http.get("/account/data")).json()["consents"]
    assert (named["decided"], named["is_api_user"]) == (False, True)
    assert (named["client_id"], named["event"], named["version"]) == (client_id, "granted", 1)
    assert named["scopes"] == ["points:read", "users:read"]
    house.http.cookies.clear()
    await house.sign_in(await house.user("stranger"))
    assert (await house.http.get("/account/data")).json()["consents"] == []
