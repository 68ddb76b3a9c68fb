"""A tenant's admin decides what third parties may do, and the issuer is told so at once."""

import asyncio
import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from partner_onboarding.register.audit.domain import SHELL
from partner_onboarding.third_parties.consents.domain import Consent, next_consent
from platform_testing.serving import PUBLIC_URL
from sqlalchemy import text

from .integration_partner import (
    CALLBACK,
    CHALLENGE,
    audit,
    carried,
    consented_code,
    decide,
    link,
    present_consent,
    random_verifier,
    redeem,
    sign_in_as,
    third_party,
    told_consent,
)
from .onboarding_house import PASSWORD, House, hidden_fields

HTML = {"Accept": "text/html"}


async def test_consent_gives_a_code_that_tells_the_issuer_once(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    await house.user("robot")
    client_id = await third_party(house)
    answer = await decide(house, client_id, designated_user=house.address("Robot"))
    assert answer.headers["location"].startswith(f"{CALLBACK}&code=")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    told = carried(answer)
    assert told["state"] == "st/ä &="
    redeemed = await redeem(house, client_id, told["code"])
    assert redeemed.json() == {
        "tenant": house.tenant,
        "client_id": client_id,
        "subject": "robot",
        "scopes": ["points:read", "users:read"],
        "consent_version": 1,
    }
    consent = await present_consent(house, client_id)
    assert {key: consent[key] for key in ("client_id", "subject", "scopes", "version")} == {
        "client_id": client_id,
        "subject": "robot",
        "version": 1,
        "scopes": ["points:read", "users:read"],
    }
    again = await redeem(house, client_id, told["code"])
    assert again.status_code == 404
    assert {"code": "invalid_grant", "replayed": True, "consent_version": 1}.items() <= again.json().items()
    assert [entry[:2] for entry in await audit(house) if entry[2] == client_id][1:] == [
        ("tenant_admin:boss", "consent_granted"),
        (f"client:{client_id}", "code_redeemed"),
        (f"client:{client_id}", "code_replayed"),
    ]


async def test_refusing_goes_back_with_access_denied_and_changes_nothing(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    answer = await decide(house, client_id, decision="refuse")
    issuer = f"{PUBLIC_URL}/tenants/{house.tenant}"
    assert carried(answer) == {"from": "points", "error": "access_denied", "state": "st/ä &=", "iss": issuer}
    assert await told_consent(house, client_id) is None
    assert ("tenant_admin:boss", "consent_refused", client_id) in await audit(house)


@pytest.mark.parametrize(
    "redirect_uri",
    [None, "https://evil.example/", CALLBACK + "&more=1", CALLBACK + "/", CALLBACK.replace("https", "HTTPS"), ""],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(house: House, redirect_uri: str | None) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    page = await house.http.get(f"/setup/{client_id}", params=link(redirect_uri=redirect_uri), headers=HTML)
    assert page.status_code == 400
    assert "location" not in page.headers
    assert "This link is not valid" in page.text
    form = hidden_fields((await house.http.get(f"/setup/{client_id}", params=link())).text)
    told = {**form, "redirect_uri": redirect_uri or "", "designated_user": "boss", "decision": "consent"}
    posted = await house.http.post(f"/setup/{client_id}", data=told)
    assert (posted.status_code, posted.json()["code"]) == (400, "unregistered_redirect_uri")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "points:read points:admin"}, "invalid_scope"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
    ],
)
async def test_whoever_asks_wrongly_is_told_at_the_registered_address(
    house: House, changes: dict[str, str | None], error: str
) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    answer = await house.http.get(f"/setup/{client_id}", params=link(**changes))
    assert answer.headers["location"].startswith(CALLBACK)
    assert carried(answer)["error"] == error
    assert carried(answer)["iss"] == f"{PUBLIC_URL}/tenants/{house.tenant}"
    assert "code" not in carried(answer)


@pytest.mark.parametrize("state", ["x" * 4096, "".join(map(chr, range(0x20, 0x7F))), "ü€😀" * 1000])
async def test_a_state_comes_back_exactly_as_it_was_sent(house: House, state: str) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    for decision in ("consent", "refuse"):
        page = await house.http.get(f"/setup/{client_id}", params=link(state=state), headers=HTML)
        form = hidden_fields(page.text) | {"designated_user": "boss", "decision": decision}
        answer = await house.http.post(f"/setup/{client_id}", data=form)
        assert answer.status_code == 303
        assert carried(answer)["state"] == state
        assert carried(answer)["iss"] == f"{PUBLIC_URL}/tenants/{house.tenant}"


@pytest.mark.parametrize("state", ["x" * 4096, "&%+=" * 1024, "ü" * 4096])
async def test_a_state_survives_the_way_over_the_sign_in_page(house: House, state: str) -> None:
    email = await house.user("boss", roles=("tenant_admin",))
    client_id = await third_party(house)
    sent = await house.http.get(f"/setup/{client_id}", params=link(state=state), headers=HTML)
    page = await house.http.get(sent.headers["location"], headers=HTML)
    (action,) = re.findall(r'<form method="post" action="(/login[^"]*)" novalidate>', page.text)
    told = hidden_fields(page.text) | {"email": email, "password": PASSWORD}
    signed_in = await house.http.post(unescape(action), data=told, headers=HTML)
    setup = await house.http.get(signed_in.headers["location"], headers=HTML)
    assert setup.status_code == 200
    form = hidden_fields(setup.text) | {"designated_user": "boss", "decision": "consent"}
    assert carried(await house.http.post(f"/setup/{client_id}", data=form))["state"] == state


@pytest.mark.parametrize("state", ["x" * 4097, "a\u200bb"])
async def test_a_state_that_could_not_come_back_is_refused_on_the_page(house: House, state: str) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    answer = await house.http.get(f"/setup/{client_id}", params=link(state=state), headers=HTML)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_a_loopback_address_is_good_with_every_port(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house, redirect_uris=("http://127.0.0.1/back", "http://[::1]:1/back"))
    for good in ("http://127.0.0.1:51004/back", "http://[::1]:51004/back"):
        answer = await decide(house, client_id, link(redirect_uri=good))
        assert answer.headers["location"].startswith(f"{good}?code=")
    for bad in ("http://127.0.0.1:51004/", "http://[::1].evil.example/back", "http://127.0.0.2/back"):
        page = await house.http.get(f"/setup/{client_id}", params=link(redirect_uri=bad), headers=HTML)
        assert page.status_code == 400


async def test_only_an_admin_of_the_clients_tenant_decides(house: House) -> None:
    client_id = await third_party(house)
    signed_out = await house.http.get(f"/setup/{client_id}", params=link())
    assert signed_out.status_code == 303
    assert signed_out.headers["location"].startswith("/login?next=%2Fsetup%2F")
    await sign_in_as(house, user_id="plain")
    refused = await house.http.get(f"/setup/{client_id}", params=link(), headers=HTML)
    assert refused.status_code == 403
    assert "For administrators only" in refused.text
    await sign_in_as(house, "operator", user_id="operator")
    assert (await house.http.get(f"/setup/{client_id}", params=link())).status_code == 403
    assert (await house.http.get("/consents")).status_code == 403
    other = await house.another_tenant()
    await sign_in_as(house, "tenant_admin", user_id="stranger", tenant=other)
    strange = await house.http.get(f"/setup/{client_id}", params=link())
    unknown = await house.http.get("/setup/nobody", params=link())
    for answer in (strange, unknown):
        assert (answer.status_code, answer.json()["code"]) == (404, "client_not_found")
    assert strange.json()["detail"] == unknown.json()["detail"]


async def test_the_platforms_own_clients_and_disabled_ones_are_not_set_up(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    own, _ = await house.client("points:read", redirect_uris=(CALLBACK,))
    gone = await third_party(house)
    await house.register.clients.disable(house.tenant, gone)
    for client_id in (own, gone, "%00", "a%20b"):
        assert (await house.http.get(f"/setup/{client_id}", params=link())).status_code == 404


async def test_a_form_of_another_browser_or_session_decides_nothing(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    form = hidden_fields((await house.http.get(f"/setup/{client_id}", params=link())).text)
    told = form | {"designated_user": "boss", "decision": "consent"}
    forged = await house.http.post(f"/setup/{client_id}", data=told | {"csrf_token": "x"})
    assert (forged.status_code, forged.json()["code"]) == (403, "form_expired")
    house.http.cookies.delete("__Host-session")
    assert (await house.http.post(f"/setup/{client_id}", data=told)).status_code == 403
    assert await told_consent(house, client_id) is None


@pytest.mark.parametrize("designated", ["", "nobody", "nobody@example.com", "stranger", "\x00", "a@b@c"])
async def test_the_designated_user_has_to_be_one_of_the_tenants(house: House, designated: str) -> None:
    await sign_in_as(house, "tenant_admin")
    await house.user("stranger", tenant=await house.another_tenant(), email=house.address("stranger"))
    client_id = await third_party(house)
    for name in {designated, house.address("stranger")}:
        answer = await decide(house, client_id, designated_user=name)
        assert answer.status_code == 400
        assert "There is no such user in your company." in answer.text
        assert hidden_fields(answer.text)["code_challenge"] == CHALLENGE
    assert await told_consent(house, client_id) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": random_verifier()},
        {"code_verifier": "short"},
        {"redirect_uri": CALLBACK.partition("?")[0]},
        {"client_id": "nobody"},
        {"client_id": "\x00"},
        {"code": "x" * 43},
        {"code": ""},
    ],
)
async def test_a_code_is_good_only_for_the_request_it_was_given_to(house: House, wrong: dict[str, str]) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    told: dict[str, Any] = {"client_id": client_id, "code": code} | wrong
    refused = await redeem(house, **told)
    assert (refused.status_code, refused.json()["code"]) == (404, "invalid_grant")
    assert "replayed" not in refused.json()
    assert (await redeem(house, client_id, code)).status_code == 200


async def test_a_link_may_go_without_pkce_and_then_the_code_goes_without_a_verifier(house: House) -> None:
    """Whoever redeems a code shows the client's own credentials. A verifier for such a code means that somebody has
    taken the challenge out of the link; a code with a challenge never goes without one."""
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    bare = await consented_code(house, client_id, link(code_challenge=None, code_challenge_method=None))
    assert (await redeem(house, client_id, bare)).status_code == 404
    assert (await redeem(house, client_id, bare, code_verifier=None)).status_code == 200
    whole = await consented_code(house, client_id)
    assert (await redeem(house, client_id, whole, code_verifier=None)).status_code == 404
    assert (await redeem(house, client_id, whole)).status_code == 200


async def test_another_client_cannot_redeem_the_code(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id, other = await third_party(house), await third_party(house)
    await consented_code(house, other)
    code = await consented_code(house, client_id)
    assert (await redeem(house, other, code)).status_code == 404
    assert (await redeem(house, client_id, code)).status_code == 200


async def test_a_code_is_good_for_a_minute(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    async with house.register.database.transaction() as connection:
        ends = "SELECT expires_at - now() <= interval '60 s' FROM partner_onboarding.authorization_codes"
        where = " WHERE client_id = :client_id"
        assert (await connection.execute(text(ends + where), {"client_id": client_id})).scalar_one()
        late = "UPDATE partner_onboarding.authorization_codes SET expires_at = now() - interval '1 ms'"
        await connection.execute(text(late + where), {"client_id": client_id})
    assert (await redeem(house, client_id, code)).status_code == 404


async def test_of_many_who_redeem_at_once_one_succeeds(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    answers = await asyncio.gather(*(redeem(house, client_id, code) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404, 404, 404]
    assert all(answer.json()["replayed"] for answer in answers if answer.status_code == 404)


async def test_more_scope_needs_consent_to_what_is_new_and_keeps_the_rest(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id, link(scope="points:read"))
    page = (await house.http.get(f"/setup/{client_id}", params=link(scope="users:read"))).text
    assert page.index("would be allowed to") < page.index("users:read") < page.index("You have already allowed")
    assert page.index("You have already allowed") < page.index('<code class="tag">points:read')
    code = await consented_code(house, client_id, link(scope="users:read"))
    assert (await present_consent(house, client_id))["scopes"] == ["points:read", "users:read"]
    assert (await redeem(house, client_id, code)).json()["scopes"] == ["users:read"]
    assert (await present_consent(house, client_id))["version"] == 2


async def test_asking_again_for_what_is_allowed_writes_nothing_new(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    page = await house.http.get(f"/setup/{client_id}", params=link(scope=None))
    assert "asks for nothing more" in page.text
    code = await consented_code(house, client_id, link(scope=None))
    assert (await redeem(house, client_id, code)).json()["consent_version"] == 1


async def test_withdrawal_holds_at_once_for_consent_and_codes(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    page = await house.http.get(f"/consents/{client_id}")
    done = await house.http.post(f"/consents/{client_id}/withdraw", data=hidden_fields(page.text))
    assert done.headers["location"] == f"/consents/{client_id}?done=withdrawn"
    assert await told_consent(house, client_id) is None
    assert (await redeem(house, client_id, code)).status_code == 404
    assert "The permission is withdrawn." in (await house.http.get(done.headers["location"])).text
    await consented_code(house, client_id, link(scope="users:read"))
    await consented_code(house, client_id, link(scope="points:read"))
    anew = await present_consent(house, client_id)
    assert (anew["version"], anew["since_version"]) == (4, 3)
    assert anew["scopes"] == ["points:read", "users:read"]
    # Consent that is given again brings nothing back of what the withdrawal has ended.
    assert (await redeem(house, client_id, code)).status_code == 404


async def test_disabling_the_client_ends_consent_and_codes_at_once(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    await house.register.clients.disable(house.tenant, client_id)
    assert await told_consent(house, client_id) is None
    assert (await redeem(house, client_id, code)).status_code == 404
    known = await house.http.get(f"/internal/clients/{client_id}", headers=house.service("sso-issuer"))
    assert (known.status_code, known.json()["code"]) == (404, "client_not_found")
    assert "Switched off by operations" in (await house.http.get("/consents")).text


async def test_the_designated_user_can_be_changed(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    await house.user("robot", firstname="Rob", lastname="Ot")
    client_id = await third_party(house)
    code = await consented_code(house, client_id)
    form = hidden_fields((await house.http.get(f"/consents/{client_id}")).text)
    path = f"/consents/{client_id}/designated-user"
    wrong = await house.http.post(path, data=form | {"designated_user": "nobody"})
    assert wrong.status_code == 400
    changed = await house.http.post(path, data=form | {"designated_user": "robot"})
    assert changed.status_code == 303
    assert "Rob Ot" in (await house.http.get("/consents")).text
    assert (await redeem(house, client_id, code)).json()["subject"] == "robot"
    assert ("tenant_admin:boss", "consent_redesignated", client_id) in await audit(house)


async def test_the_receipt_says_who_allowed_whom_what_in_which_words(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    house.http.headers["Accept-Language"] = "de"
    await consented_code(house, client_id, link(scope="points:read"))
    answer = await house.http.get(f"/consents/{client_id}/receipts/1")
    assert answer.headers["content-disposition"] == f'attachment; filename="consent-{client_id}-1.json"'
    told = answer.json()
    assert told["controller"] == {"tenant": house.tenant, "name": f"Tenant {house.tenant}"}
    assert told["recipient"]["client_id"] == client_id
    assert told["given_by"] == {"role": "tenant_admin", "id": "boss"}
    assert (told["language"], told["version"], told["event"]) == ("de", 1, "granted")
    assert told["data"] == [
        {"scope": "points:read", "words": "Punktestände sehen, und was gesammelt und ausgegeben wurde"}
    ]
    for missing in (f"/consents/{client_id}/receipts/2", "/consents/nobody/receipts/1", "/consents/%00"):
        assert (await house.http.get(missing)).status_code == 404


async def test_the_api_lists_and_withdraws_for_a_session_on_this_site(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    listed = await house.http.get("/v1/consents")
    (told,) = listed.json()["consents"]
    assert (told["client_id"], told["state"], told["designated_user"]) == (client_id, "granted", "boss")
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "https://evil.example/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.points.example"},
    ):
        forged = await house.http.delete(f"/v1/consents/{client_id}", headers=foreign)
        assert (forged.status_code, forged.json()["code"]) == (403, "cross_site_request")
    assert await told_consent(house, client_id) is not None
    for ours in ({}, {"Origin": "https://points.example", "Sec-Fetch-Site": "same-origin"}):
        assert (await house.http.delete(f"/v1/consents/{client_id}", headers=ours)).status_code == 204
    assert await told_consent(house, client_id) is None
    history = (await house.http.get(f"/v1/consents/{client_id}")).json()
    assert [version["event"] for version in history["versions"]] == ["withdrawn", "granted"]
    assert (await house.http.delete("/v1/consents/nobody")).status_code == 404


async def test_the_api_takes_operators_clients_of_the_tenant_and_nobody_else(house: House) -> None:
    await sign_in_as(house, "tenant_admin")
    client_id = await third_party(house)
    await consented_code(house, client_id)
    house.http.cookies.clear()
    assert (await house.http.get("/v1/consents")).status_code == 401
    unscoped = await house.caller("points:admin")
    assert (await house.http.get("/v1/consents", headers=unscoped)).status_code == 403
    stranger = await house.caller("clients:admin", tenant=await house.another_tenant())
    assert (await house.http.get("/v1/consents", headers=stranger)).json()["consents"] == []
    assert (await house.http.delete(f"/v1/consents/{client_id}", headers=stranger)).status_code == 404
    operator = await house.caller("clients:admin")
    assert (await house.http.delete(f"/v1/consents/{client_id}", headers=operator)).status_code == 204
    await sign_in_as(house, user_id="plain")
    assert (await house.http.get("/v1/consents")).status_code == 403


async def test_the_issuer_learns_of_a_client_all_it_needs(house: House) -> None:
    # The key of RFC 7517, A.1.
    x, y = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    key = {"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y}
    operator = await house.caller("clients:admin")
    body = {"name": "Signer", "kind": "third_party", "scopes": ["points:read"], "redirect_uris": [CALLBACK]}
    made = await house.http.post("/v1/clients", json=body | {"jwks": {"keys": [key]}}, headers=operator)
    client_id = made.json()["client_id"]
    known = await house.http.get(f"/internal/clients/{client_id}", headers=house.service("sso-issuer"))
    assert known.json() == {
        "client_id": client_id,
        "tenant": house.tenant,
        "kind": "third_party",
        "scopes": ["points:read"],
        "redirect_uris": [CALLBACK],
        "jwks": {"keys": [key]},
        "name": "Signer",
        "vendor_id": None,
        "ip_allow_list": [],
    }
    tenant = await house.http.get(f"/internal/tenants/{house.tenant}", headers=house.service("sso-issuer"))
    assert tenant.json() == {"tenant": house.tenant, "name": f"Tenant {house.tenant}"}
    missing = await house.http.get("/internal/tenants/nobody", headers=house.service("sso-issuer"))
    assert (missing.status_code, missing.json()["code"]) == (404, "tenant_not_found")
    off_the_curve = key | {"x": "a" * 43, "y": "b" * 43}
    many = {"keys": [key | {"x5c": ["x" * 100_000]}]}, {"keys": [off_the_curve]}, {"keys": [key, key]}
    for wrong in (*many, {}, {"keys": []}, {"keys": [key | {"d": "secret"}]}, {"keys": [{"kty": "oct", "kid": "k"}]}):
        refused = await house.http.post("/v1/clients", json=body | {"jwks": wrong}, headers=operator)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_jwks")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/internal/clients/nobody"),
        ("POST", "/internal/authorization-codes/redeem"),
    ],
)
async def test_only_the_issuer_may_ask(house: House, method: str, path: str) -> None:
    body = {"code": "a", "client_id": "b", "redirect_uri": "c", "code_verifier": "d"} if method == "POST" else None
    told = await house.http.request(method, path, json=body, headers=house.service("sso-issuer"))
    assert told.status_code == 404
    for service in ("points-ledger", "token-service"):
        refused = await house.http.request(method, path, json=body, headers=house.service(service))
        assert refused.status_code == 403
    assert (await house.http.request(method, path, json=body)).status_code == 401


async def test_the_issuer_and_token_service_may_ask_what_a_tenant_is_called(house: House) -> None:
    path = "/internal/tenants/nobody"
    asked = {
        name: (await house.http.get(path, headers=house.service(name))).status_code
        for name in ("sso-issuer", "token-service", "points-ledger")
    }
    assert asked == {"sso-issuer": 404, "token-service": 404, "points-ledger": 403}
    assert (await house.http.get(path)).status_code == 401


def test_words_are_kept_as_they_were_read() -> None:
    """A later change of a text does not change what somebody has consented to."""
    first = next_consent(None, ["points:read"], "robot", {"points:read": "See points"}, "en")
    assert first is not None
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    present = Consent("demo", "c", 1, first.event, first.subject, first.scopes, first.words, "en", SHELL, moment)
    second = next_consent(present, ["users:read"], "robot", {"points:read": "Other", "users:read": "Namen"}, "de")
    assert second is not None
    assert (second.event, second.version) == ("extended", 2)
    assert dict(second.words) == {"points:read": "See points", "users:read": "Namen"}
