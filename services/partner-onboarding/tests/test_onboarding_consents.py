"""A tenant's admin decides what third parties may do, and the issuer is told so at once."""

import re
from html import unescape

import pytest
from platform_testing.serving import PUBLIC_URL

from .integration_partner import (
    CALLBACK,
    CHALLENGE,
    audit,
    carried,
    decide,
    link,
    present_consent,
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
