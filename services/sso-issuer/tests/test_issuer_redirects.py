"""Redirects for a back end: fresh points or none, an audit before the answer, one token a key."""

import asyncio
import logging
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from platform_testing.callers import ServiceKeys
from platform_testing.issuer_world import World, claims_of, header_of
from shared.errors import Unavailable
from sso_issuer.redirects import store
from sso_issuer.tables import issuances
from starlette.responses import JSONResponse, Response


async def _audit(world: World) -> list[dict[str, Any]]:
    async with world.database.connect() as connection:
        rows = await connection.execute(sa.select(issuances).where(issuances.c.tenant == world.tenant))
        return [dict(row._mapping) for row in rows]


async def test_a_query_redirect_says_all_there_is_to_know(world: World) -> None:
    await world.put_vendor(redirect_url="https://shop.example/redeem?lang=de")
    answer = await world.ask_redirect()
    body = answer.json()
    assert answer.status_code == 201
    assert body == {
        "vendor_id": "shop",
        "delivery": "query",
        "url": f"https://shop.example/redeem?lang=de&token={body['token']}",
        "fields": {},
        "token": body["token"],
        "jti": claims_of(body["token"])["jti"],
        "expires_at": body["expires_at"],
    }
    assert datetime.fromisoformat(body["expires_at"]).timestamp() == claims_of(body["token"])["exp"]
    assert body["expires_at"].endswith(".000Z")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_form_redirect_keeps_the_token_out_of_the_address(world: World) -> None:
    await world.put_vendor(delivery="form_post")
    body = await world.redirect()
    assert body["delivery"] == "form_post"
    assert body["url"] == "https://shop.example/redeem"
    assert body["fields"] == {"token": body["token"]}


async def test_points_are_those_of_this_moment(world: World) -> None:
    await world.put_vendor()
    for points in (500, 20, 0, 9_000_000_000):
        world.ledger.points[world.tenant, world.user_id] = points
        assert claims_of((await world.redirect())["token"])["points"] == points


async def test_a_known_user_without_an_account_has_no_points(world: World) -> None:
    await world.put_vendor()
    world.add_user("newcomer", points=None)
    assert claims_of((await world.redirect(user_id="newcomer"))["token"])["points"] == 0


@pytest.mark.parametrize("user_id", ["nobody", "a/b", "ü 1"])
async def test_an_unknown_user_is_not_found(world: World, user_id: str) -> None:
    await world.put_vendor()
    answer = await world.ask_redirect(user_id=user_id)
    assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
    assert await _audit(world) == []


async def test_a_user_id_may_have_any_printable_characters(world: World) -> None:
    await world.put_vendor()
    world.add_user("ü 1?#%&=", points=7)
    claims = claims_of((await world.redirect(user_id="ü 1?#%&="))["token"])
    assert (claims["userid"], claims["points"]) == ("ü 1?#%&=", 7)


async def test_an_unknown_vendor_is_not_found(world: World) -> None:
    answer = await world.ask_redirect("nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "vendor_not_found")


async def test_another_tenants_vendor_and_user_look_like_none(world: World) -> None:
    await world.put_vendor()
    stranger = world.register.add("t-stranger", "sso:issue", "sso:admin")
    body = {"user_id": world.user_id, "vendor_id": "shop"}
    answer = await world.client.post("/sso/v1/redirects", json=body, headers=stranger)
    assert (answer.status_code, answer.json()["code"]) == (404, "vendor_not_found")
    listed = await world.client.get("/sso/v1/issuances", headers=stranger)
    assert listed.json() == {"issuances": [], "next_cursor": None}


async def test_only_the_scope_issues(world: World) -> None:
    await world.put_vendor()
    world.platform = world.register.add(world.tenant, "points:admin", "sso:admin")
    answer = await world.ask_redirect()
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "trouble",
    [
        Response("down", 503),
        Response("broken", 500),
        JSONResponse({"code": "not_found"}, 404),
        Response("<html>", 200),
        JSONResponse({"available": None, "firstname": 3}, 200),
        JSONResponse({"available": -1}, 200),
        JSONResponse({"available": True}, 200),
        JSONResponse([], 200),
    ],
)
@pytest.mark.parametrize("neighbour", ["ledger", "onboarding"])
async def test_without_both_neighbours_there_is_no_token(world: World, trouble: Response, neighbour: str) -> None:
    await world.put_vendor()
    getattr(world, neighbour).answer = lambda: trouble
    answer = await world.ask_redirect()
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert "retry-after" in answer.headers
    assert "points-ledger" not in answer.text
    assert await _audit(world) == []


async def test_each_token_leaves_one_audit_row_and_never_itself(world: World) -> None:
    await world.put_vendor(delivery="form_post")
    issued = await world.redirect()
    await world.client.post(
        "/sso/v1/redirects",
        json={"user_id": world.user_id, "vendor_id": "shop"},
        headers=world.platform | {"X-Request-Id": "trace-me"},
    )
    rows = await _audit(world)
    assert len(rows) == 2
    row = next(row for row in rows if row["jti"] == issued["jti"])
    assert row["user_id"] == world.user_id
    assert row["vendor_id"] == "shop"
    assert row["client_id"] is not None
    assert row["points"] == 500
    assert {row["request_id"] for row in rows} > {"trace-me"}
    assert issued["token"].rpartition(".")[2] not in repr(rows)


async def test_without_its_audit_no_token_leaves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put_vendor()

    async def fail(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(store, "append_all", fail)
    answer = await world.ask_redirect()
    assert answer.status_code == 503
    assert "eyJ" not in answer.text


async def test_many_at_once_are_audited_together(world: World) -> None:
    await world.put_vendor()
    issued = await asyncio.gather(*(world.redirect() for _ in range(60)))
    assert {row["jti"] for row in await _audit(world)} == {one["jti"] for one in issued}


@pytest.mark.parametrize(("before", "after"), [("ES256", "RS256"), ("RS256", "ES256")])
async def test_another_algorithm_signs_from_the_moment_it_is_agreed(world: World, before: str, after: str) -> None:
    """RS256 has a line of its own. What is in the other line when the agreement changes is carried out as well."""
    await world.put_vendor(algorithm=before)
    await world.put_vendor("other", algorithm=after)
    for agreed in (before, after):
        await world.put_vendor(algorithm=agreed)
        redirects = await asyncio.gather(*(world.redirect(vendor_id) for vendor_id in ("shop", "other") * 4))
        signed = [header_of(redirect["token"])["alg"] for redirect in redirects]
        assert signed == [agreed, after] * 4
    assert len(await _audit(world)) == 16


async def test_the_audit_is_listed_newest_first_in_pages(world: World) -> None:
    await world.put_vendor()
    await world.put_vendor("other", audience="other")
    world.add_user("user-2")
    issued = [
        (await world.redirect(vendor, user))["jti"]
        for vendor, user in (("shop", None), ("other", None), ("shop", "user-2"), ("shop", None), ("other", "user-2"))
    ]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await world.client.get("/sso/v1/issuances", params=params, headers=world.admin)).json()
        seen += [issuance["jti"] for issuance in page["issuances"]]
        cursor = page["next_cursor"]
    assert seen == issued[::-1]

    async def listed(**params: str) -> list[str]:
        answer = await world.client.get("/sso/v1/issuances", params=params, headers=world.admin)
        return [issuance["jti"] for issuance in answer.json()["issuances"]]

    assert await listed(user_id="user-2") == [issued[4], issued[2]]
    assert await listed(vendor_id="other", user_id=world.user_id) == [issued[1]]
    assert await listed(vendor_id="nowhere") == []


async def test_onboarding_learns_which_shops_were_told_about_a_person(world: World, service_keys: ServiceKeys) -> None:
    await world.put_vendor()
    world.add_user("user/2")
    told = [(await world.redirect("shop", user))["jti"] for user in ("user/2", None, "user/2")]
    path = f"/internal/tenants/{world.tenant}/users/user%2F2/issuances"
    asked = service_keys.headers("partner-onboarding", "sso-issuer")
    first = (await world.client.get(path, params={"limit": 1}, headers=asked)).json()
    rest = (await world.client.get(path, params={"cursor": first["next_cursor"]}, headers=asked)).json()
    seen = [one["jti"] for page in (first, rest) for one in page["issuances"]]
    assert (seen, rest["next_cursor"]) == ([told[2], told[0]], None)
    assert (
        await world.client.get(path, headers=service_keys.headers("token-service", "sso-issuer"))
    ).status_code == 403


@pytest.mark.parametrize("cursor", ["x", "eyJ", "ÿ", "MjAyNi0xMS0yMQ", "A" * 500, "MjAyNi0xMS0yMVQwMDowMDowMCBh"])
async def test_a_cursor_that_was_not_made_here_is_refused(world: World, cursor: str) -> None:
    answer = await world.client.get("/sso/v1/issuances", params={"cursor": cursor}, headers=world.admin)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_cursor"


async def test_one_key_gives_one_token(world: World) -> None:
    await world.put_vendor()
    first = await world.ask_redirect(**{"Idempotency-Key": "k-1"})
    again = await world.ask_redirect(**{"Idempotency-Key": "k-1"})
    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["cache-control"] == "no-store"
    assert len(await _audit(world)) == 1
    other = await world.ask_redirect(user_id="user-2", **{"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def test_one_key_at_once_gives_one_token(world: World) -> None:
    await world.put_vendor()
    answers = await asyncio.gather(*(world.ask_redirect(**{"Idempotency-Key": "k-2"}) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["jti"] for answer in answers}) == 1
    assert len(await _audit(world)) == 1


async def test_a_final_refusal_is_repeated_and_a_passing_one_is_not(world: World) -> None:
    await world.put_vendor()
    key = {"Idempotency-Key": "k-3"}
    assert (await world.ask_redirect(user_id="later", **key)).status_code == 404
    world.add_user("later")
    assert (await world.ask_redirect(user_id="later", **key)).status_code == 404
    key = {"Idempotency-Key": "k-4"}
    world.ledger.answer = lambda: Response("down", 503)
    assert (await world.ask_redirect(**key)).status_code == 503
    world.ledger.answer = None
    assert (await world.ask_redirect(**key)).status_code == 201


async def test_a_token_never_reaches_a_log(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    await world.put_vendor()
    token = (await world.redirect())["token"]
    assert (await world.redeem(token)).status_code == 200
    assert (await world.redeem(token)).status_code == 409
    assert (await world.redeem(token + "x")).status_code == 400
    page = await world.client.post("/sso/v1/redeem/shop", headers=world.sign_in())
    browser_token = page.headers["location"].rpartition("token=")[2]
    logged = caplog.text + "".join(capfd.readouterr())
    assert "/sso/v1/redirects" in logged
    for leaked in (token, token.rpartition(".")[2], browser_token, browser_token.rpartition(".")[2]):
        assert leaked not in logged


async def test_an_address_that_is_not_confirmed_is_vouched_for_at_no_vendor(world: World) -> None:
    await world.put_vendor()
    user = world.onboarding.users[world.tenant, world.user_id]
    user["email_verified"] = False
    answer = await world.ask_redirect()
    assert (answer.status_code, answer.json()["code"]) == (409, "email_unconfirmed")
    assert "token" not in answer.text.replace("email_unconfirmed", "")
    listed = await world.client.get("/sso/v1/issuances", headers=world.admin)
    assert listed.json()["issuances"] == []
    user["email_verified"] = True
    assert claims_of((await world.redirect())["token"])["email_verified"] is True


async def test_a_register_that_does_not_say_whether_an_address_is_confirmed_is_not_believed(world: World) -> None:
    await world.put_vendor()
    del world.onboarding.users[world.tenant, world.user_id]["email_verified"]
    assert (await world.ask_redirect()).status_code == 503


@pytest.mark.parametrize(("language", "words"), [("de", "Bitte bestätigen Sie zuerst"), ("en", "Please confirm your")])
async def test_in_the_browser_a_page_offers_to_send_the_mail_again(world: World, language: str, words: str) -> None:
    await world.put_vendor()
    world.onboarding.users[world.tenant, world.user_id]["email_verified"] = False
    session = world.sign_in() | {"Accept-Language": language}
    page = await world.client.post("/sso/v1/redeem/shop", headers=session | {"Accept": "text/html"})
    assert page.status_code == 409
    assert words in page.text
    assert 'href="/account/confirmation"' in page.text
    assert page.headers["cache-control"] == "no-store"
    told = await world.client.post("/sso/v1/redeem/shop", headers=session | {"Accept": "application/json"})
    assert (told.status_code, told.json()["code"]) == (409, "email_unconfirmed")


async def test_redirects_that_wait_together_ask_the_neighbours_together(world: World) -> None:
    await world.put_vendor()
    await world.put_vendor("hmac", algorithm="HS256")
    await world.add_secret("hmac")
    for n in range(40):
        world.add_user(f"u{n}", points=n)
    world.ledger.asked = 0
    wishes = [(("shop", "hmac", "nowhere")[n % 3], f"u{n}" if n % 5 else "nobody") for n in range(60)]
    answers = await asyncio.gather(*(world.ask_redirect(vendor_id, user_id) for vendor_id, user_id in wishes))
    assert world.ledger.asked < 20
    for (vendor_id, user_id), answer in zip(wishes, answers, strict=True):
        if vendor_id == "nowhere":
            assert (answer.status_code, answer.json()["code"]) == (404, "vendor_not_found")
        elif user_id == "nobody" or int(user_id[1:]) >= 40:
            assert (answer.status_code, answer.json()["code"]) == (404, "user_not_found")
        else:
            claims = claims_of(answer.json()["token"])
            assert (claims["userid"], claims["points"], claims["aud"]) == (user_id, int(user_id[1:]), vendor_id)


async def test_a_neighbour_that_names_nobody_is_not_believed(world: World) -> None:
    await world.put_vendor()
    world.ledger.answer = lambda: JSONResponse({"balances": [], "absent": []})
    assert (await world.ask_redirect()).status_code == 503
    world.ledger.answer = None
    world.onboarding.answer = lambda: JSONResponse({"profiles": [], "absent": []})
    assert (await world.ask_redirect()).status_code == 503
