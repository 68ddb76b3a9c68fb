"""The register of clients over HTTP, for operators."""

import asyncio
from dataclasses import replace

import pytest
from partner_onboarding.register.clients.domain import (
    SCOPES,
    THIRD_PARTY_SCOPES,
    ExceedsOwnRights,
    Registration,
    check_within_rights,
    own_client_id,
)
from platform_testing.callers import basic
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from .onboarding_house import House

BODY = {
    "name": "Reward shop",
    "scopes": ["points:read", "points:redeem"],
    "vendor_id": "shop",
    "ip_allow_list": ["192.0.2.0/24"],
    "landing_url": "https://shop.example/hello?a=b",
    "redirect_uris": ["https://shop.example/callback"],
}


async def test_a_registered_client_can_call_with_the_secret_shown_once(house: House) -> None:
    operator = await house.caller("clients:admin")
    answer = await house.http.post("/v1/clients", json=BODY | {"ip_allow_list": []}, headers=operator)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    registered = answer.json()
    assert answer.headers["location"] == f"/v1/clients/{registered['client_id']}"
    assert (await house.check(registered["client_id"], registered["client_secret"])).json() == {
        "client_id": registered["client_id"],
        "tenant": house.tenant,
        "kind": "first_party",
        "scopes": ["points:redeem", "points:read"],
        "vendor_id": "shop",
        "ip_allow_list": [],
    }
    shown = await house.http.get(f"/v1/clients/{registered['client_id']}", headers=operator)
    assert shown.status_code == 200
    assert "client_secret" not in shown.json()
    assert registered["client_secret"] not in shown.text
    assert shown.json()["redirect_uris"] == ["https://shop.example/callback"]
    assert shown.json()["secrets"][0]["last_used_at"] is not None or shown.json()["secrets"][0]["n"] == 1


async def test_the_caller_registers_for_its_own_tenant_and_cannot_choose_an_id(house: House) -> None:
    operator = await house.caller("clients:admin")
    for field in ("tenant", "client_id", "client_secret"):
        answer = await house.http.post("/v1/clients", json=BODY | {field: "other"}, headers=operator)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


async def test_only_operators_may(house: House) -> None:
    for headers, status in (({}, 401), (await house.caller("points:admin", "users:write"), 403)):
        for method, path in (
            ("POST", "/v1/clients"),
            ("GET", "/v1/clients"),
            ("GET", "/v1/clients/abc"),
            ("POST", "/v1/clients/abc/secrets"),
            ("DELETE", "/v1/clients/abc/secrets/1"),
            ("DELETE", "/v1/clients/abc"),
        ):
            body = BODY if path == "/v1/clients" and method == "POST" else None
            answer = await house.http.request(method, path, json=body, headers=headers)
            assert answer.status_code == status, (method, path)
            # RFC 6750: a missing scope is named in a challenge as well.
            assert "www-authenticate" in answer.headers
            assert ('error="insufficient_scope", scope="clients:admin"' in answer.headers["www-authenticate"]) is (
                status == 403
            )


async def test_another_tenants_client_does_not_exist(house: House) -> None:
    operator = await house.caller("clients:admin")
    theirs, secret = await house.client("points:read", tenant=await house.another_tenant())
    for method, path in (
        ("GET", f"/v1/clients/{theirs}"),
        ("POST", f"/v1/clients/{theirs}/secrets"),
        ("DELETE", f"/v1/clients/{theirs}/secrets/1"),
        ("DELETE", f"/v1/clients/{theirs}"),
    ):
        foreign = await house.http.request(method, path, headers=operator)
        unknown = await house.http.request(method, path.replace(theirs, "nobody"), headers=operator)
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json() | {"request_id": 0} == unknown.json() | {"request_id": 0}
    listed = await house.http.get("/v1/clients", headers=operator)
    assert {client["tenant"] for client in listed.json()["clients"]} == {house.tenant}
    assert (await house.check(theirs, secret)).status_code == 200


async def test_the_list_is_paged_without_gaps(house: House) -> None:
    operator = await house.caller("clients:admin")
    made = {(await house.client("points:read"))[0] for _ in range(7)}
    seen: list[str] = []
    asked: dict[str, str] = {"limit": "3"}
    while True:
        page = (await house.http.get("/v1/clients", params=asked, headers=operator)).json()
        assert len(page["clients"]) <= 3
        seen += [client["client_id"] for client in page["clients"]]
        if page["next_cursor"] is None:
            break
        asked["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 8
    assert made < set(seen)


@pytest.mark.parametrize("path", ["/v1/clients", "/v1/consents", "/v1/integration-requests", "/v1/audit"])
async def test_a_cursor_that_was_not_given_out_for_this_list_is_invalid(house: House, path: str) -> None:
    operator = await house.caller("clients:admin")
    await house.client("points:read")
    of_clients = (await house.http.get("/v1/clients", params={"limit": 1}, headers=operator)).json()["next_cursor"]
    wrong = ["", "x", "0" * 16, *([] if path == "/v1/clients" else [of_clients])]
    for cursor in wrong:
        refused = await house.http.get(path, params={"cursor": cursor}, headers=operator)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor"), cursor


async def test_two_secrets_live_during_the_overlap_and_never_three(house: House) -> None:
    operator = await house.caller("clients:admin")
    client_id, first = await house.client("points:read")
    path = f"/v1/clients/{client_id}/secrets"
    answer = await house.http.post(path, json={"overlap_seconds": 600}, headers=operator)
    assert answer.status_code == 201
    assert answer.json()["n"] == 2
    second = answer.json()["client_secret"]
    assert [(await house.check(client_id, secret)).status_code for secret in (first, second)] == [200, 200]
    for overlap in (600, 0):
        refused = await house.http.post(path, json={"overlap_seconds": overlap}, headers=operator)
        assert (refused.status_code, refused.json()["code"]) == (409, "former_secret_live")
        assert refused.json()["expires_at"] == answer.json()["secrets"][0]["expires_at"]
    assert [(await house.check(client_id, secret)).status_code for secret in (first, second)] == [200, 200]
    wish = {"overlap_seconds": 600, "end_former": True}
    third = (await house.http.post(path, json=wish, headers=operator)).json()["client_secret"]
    assert [(await house.check(client_id, secret)).status_code for secret in (first, second, third)] == [404, 200, 200]
    wish = {"overlap_seconds": 0, "end_former": True}
    fourth = (await house.http.post(path, json=wish, headers=operator)).json()["client_secret"]
    outcomes = [(await house.check(client_id, secret)).status_code for secret in (first, second, third, fourth)]
    assert outcomes == [404, 404, 404, 200]


async def test_the_former_secret_ends_by_itself_when_the_overlap_is_over(house: House) -> None:
    operator = await house.caller("clients:admin")
    client_id, first = await house.client("points:read")
    await house.http.post(f"/v1/clients/{client_id}/secrets", json={"overlap_seconds": 600}, headers=operator)
    async with house.register.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE partner_onboarding.client_secrets SET expires_at = now() - interval '1 ms'"
                " WHERE client_id = :client_id AND n = 1"
            ),
            {"client_id": client_id},
        )
    assert (await house.check(client_id, first)).status_code == 404
    secrets = (await house.http.get(f"/v1/clients/{client_id}", headers=operator)).json()["secrets"]
    assert [(secret["n"], secret["expires_at"] is None) for secret in secrets] == [(1, False), (2, True)]


async def test_without_a_body_the_former_secret_stays_for_a_day(house: House) -> None:
    operator = await house.caller("clients:admin")
    client_id, first = await house.client("points:read")
    answer = await house.http.post(f"/v1/clients/{client_id}/secrets", headers=operator)
    assert answer.status_code == 201
    assert (await house.check(client_id, first)).status_code == 200


async def test_rotations_at_once_leave_two_live_secrets(house: House) -> None:
    operator = await house.caller("clients:admin")
    client_id, first = await house.client("points:read")
    path = f"/v1/clients/{client_id}/secrets"
    answers = await asyncio.gather(
        *(house.http.post(path, json={"overlap_seconds": 60}, headers=operator) for _ in range(6))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]
    made = [answer.json()["client_secret"] for answer in answers if answer.status_code == 201]
    assert [(await house.check(client_id, secret)).status_code for secret in (first, *made)] == [200, 200]


async def test_a_revoked_secret_and_a_disabled_client_end_at_once(house: House) -> None:
    operator = await house.caller("clients:admin")
    client_id, first = await house.client("points:read")
    answer = await house.http.post(f"/v1/clients/{client_id}/secrets", headers=operator)
    second = answer.json()["client_secret"]
    for _ in range(2):
        assert (await house.http.delete(f"/v1/clients/{client_id}/secrets/1", headers=operator)).status_code == 204
    assert [(await house.check(client_id, secret)).status_code for secret in (first, second)] == [404, 200]
    missing = await house.http.delete(f"/v1/clients/{client_id}/secrets/9", headers=operator)
    assert (missing.status_code, missing.json()["code"]) == (404, "secret_not_found")
    for _ in range(2):
        assert (await house.http.delete(f"/v1/clients/{client_id}", headers=operator)).status_code == 204
    assert (await house.check(client_id, second)).status_code == 404
    rotated = await house.http.post(f"/v1/clients/{client_id}/secrets", headers=operator)
    assert (rotated.status_code, rotated.json()["code"]) == (409, "client_disabled")
    assert (await house.http.get(f"/v1/clients/{client_id}", headers=operator)).json()["disabled_at"] is not None


async def test_a_repeated_post_registers_once_and_gets_the_same_secret_again(house: House) -> None:
    operator = await house.caller("clients:admin")
    headers = operator | {"Idempotency-Key": "register-the-shop"}
    first, again = [await house.http.post("/v1/clients", json=BODY, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    reused = await house.http.post("/v1/clients", json=BODY | {"name": "Other"}, headers=headers)
    assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")
    rotate = operator | {"Idempotency-Key": "rotate"}
    path = f"/v1/clients/{first.json()['client_id']}/secrets"
    one, two = [await house.http.post(path, json={}, headers=rotate) for _ in range(2)]
    assert one.json() == two.json()
    assert one.json()["n"] == 2


async def test_an_answer_kept_for_repetition_does_not_hold_the_secret_in_clear(house: House) -> None:
    operator = await house.caller("clients:admin")
    answer = await house.http.post("/v1/clients", json=BODY, headers=operator | {"Idempotency-Key": "sealed"})
    async with house.register.database.transaction() as connection:
        kept = (
            await connection.execute(
                text("SELECT answer FROM partner_onboarding.idempotent_answers WHERE tenant = :tenant"),
                {"tenant": house.tenant},
            )
        ).scalar_one()
    assert answer.json()["client_secret"].encode() not in kept
    assert answer.json()["client_id"].encode() not in kept


async def test_the_ip_allow_list_is_kept_to_by_this_service_as_well(house: House) -> None:
    allowed = await house.caller("clients:admin", ip_allow_list=("10.0.0.0/8",))
    elsewhere = await house.caller("clients:admin", ip_allow_list=("192.0.2.0/24",))
    assert (await house.http.get("/v1/clients", headers=allowed)).status_code == 200
    refused = await house.http.get("/v1/clients", headers=elsewhere)
    assert (refused.status_code, refused.json()["code"]) == (403, "ip_not_allowed")


@pytest.mark.parametrize("wrong", ["secret", "id", "other client's secret"])
async def test_basic_credentials_are_checked_by_the_register_itself(house: House, wrong: str) -> None:
    client_id, secret = await house.client("clients:admin")
    credentials = {
        "secret": (client_id, secret[:-1]),
        "id": ("nobody", secret),
        "other client's secret": (client_id, (await house.client("clients:admin"))[1]),
    }[wrong]
    answer = await house.http.get("/v1/clients", headers=basic(*credentials))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


async def test_a_client_rotates_its_own_secret_and_sees_itself(house: House) -> None:
    client_id, first = await house.client("partner:handshake", landing_url="https://partner.example/")
    headers = basic(client_id, first) | {"Idempotency-Key": "rotate-myself"}
    one, two = [await house.http.post("/v1/clients/self/secrets", headers=headers) for _ in range(2)]
    assert one.status_code == two.status_code == 201
    assert one.json() == two.json()
    refused = await house.http.post("/v1/clients/self/secrets", headers=basic(client_id, one.json()["client_secret"]))
    assert (refused.status_code, refused.json()["code"]) == (409, "former_secret_live")
    shown = await house.http.get("/v1/clients/self", headers=basic(client_id, first))
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    body = shown.json()
    assert (body["client_id"], body["scopes"]) == (client_id, ["partner:handshake"])
    assert body["limits"] == {
        "live_secrets": 2,
        "longest_overlap_seconds": 2_592_000,
        "requests_per_minute": 600_000,
        "partner_requests_per_minute": 1200,
    }
    assert [secret["n"] for secret in body["secrets"]] == [1, 2]
    assert first not in shown.text
    plain = basic(*await house.client("points:read"))
    assert (await house.http.get("/v1/clients/self", headers=plain)).json()["limits"][
        "partner_requests_per_minute"
    ] is None
    assert (await house.http.get("/v1/clients/self")).status_code == 401


async def test_a_vendor_id_has_one_live_client(house: House) -> None:
    operator = await house.caller("clients:admin")
    first = (await house.http.post("/v1/clients", json=BODY, headers=operator)).json()
    taken = await house.http.post("/v1/clients", json=BODY, headers=operator)
    assert (taken.status_code, taken.json()["code"]) == (409, "vendor_id_taken")
    # A client without a vendor id keeps its records under its own id: that name is taken as well.
    plain, _ = await house.client("points:redeem")
    shadow = await house.http.post("/v1/clients", json=BODY | {"vendor_id": plain}, headers=operator)
    assert (shadow.status_code, shadow.json()["code"]) == (409, "vendor_id_taken")
    other = await house.caller("clients:admin", tenant=await house.another_tenant())
    assert (await house.http.post("/v1/clients", json=BODY, headers=other)).status_code == 201
    successor = await house.http.post("/v1/clients", json=BODY | {"takes_over": True}, headers=operator)
    assert successor.status_code == 201
    assert (await house.check(first["client_id"], first["client_secret"])).status_code == 404
    newest = (await house.http.get("/v1/audit", headers=operator)).json()["entries"][:2]
    assert [(entry["action"], entry["subject"]) for entry in newest] == [
        ("client_registered", successor.json()["client_id"]),
        ("client_disabled", first["client_id"]),
    ]
    assert newest[1]["details"] == {
        "taken_over_by": successor.json()["client_id"],
        "before": {"is_disabled": False},
        "after": {"is_disabled": True},
    }


async def test_registrations_of_one_vendor_at_once_leave_one_live_client(house: House) -> None:
    operator = await house.caller("clients:admin")
    answers = await asyncio.gather(*(house.http.post("/v1/clients", json=BODY, headers=operator) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"vendor_id_taken"}


@pytest.mark.parametrize("scope", ["clients:admin", "sso:issue", "sso:admin", "partner:handshake"])
async def test_what_a_third_party_may_never_have_neither_code_nor_database_gives(house: House, scope: str) -> None:
    operator = await house.caller("clients:admin")
    body = {"name": "Third", "kind": "third_party", "scopes": ["points:read", scope]}
    refused = await house.http.post("/v1/clients", json=body, headers=operator)
    assert (refused.status_code, refused.json()["code"]) == (400, "scope_not_allowed")
    client_id, _ = await house.client("points:read", kind="third_party", redirect_uris=("https://third.example/",))
    with pytest.raises(IntegrityError, match="clients_scopes_of_third_party_check"):
        async with house.register.database.transaction() as connection:
            await connection.execute(
                text("UPDATE partner_onboarding.clients SET scopes = scopes || :scope WHERE client_id = :client_id"),
                {"scope": [scope], "client_id": client_id},
            )


@pytest.mark.parametrize("bound", [{"vendor_id": "shop"}, {"ip_allow_list": ["192.0.2.0/24"]}])
async def test_a_third_party_is_bound_to_nothing_that_its_tokens_do_not_carry(
    house: House, bound: dict[str, object]
) -> None:
    operator = await house.caller("clients:admin")
    body = {"name": "Third", "kind": "third_party", "scopes": ["points:redeem"]}
    refused = await house.http.post("/v1/clients", json=body | bound, headers=operator)
    assert refused.status_code == 400
    assert next(iter(bound)) in refused.json()["detail"]
    assert (await house.http.post("/v1/clients", json=body, headers=operator)).status_code == 201


async def test_an_operator_bound_to_networks_makes_no_operator_that_is_not(house: House) -> None:
    bound = await house.caller("clients:admin", ip_allow_list=("10.0.0.0/8",))
    body = {"name": "Operator", "scopes": ["clients:admin"]}
    for networks in ([], ["0.0.0.0/0"], ["10.1.0.0/16", "192.0.2.0/24"], ["::/0"]):
        refused = await house.http.post("/v1/clients", json=body | {"ip_allow_list": networks}, headers=bound)
        assert (refused.status_code, refused.json()["code"]) == (403, "exceeds_own_rights"), networks
    within = await house.http.post("/v1/clients", json=body | {"ip_allow_list": ["10.1.0.0/16"]}, headers=bound)
    assert within.status_code == 201
    free = await house.caller("clients:admin")
    assert (await house.http.post("/v1/clients", json=body, headers=free)).status_code == 201


async def test_an_operator_bound_to_networks_gets_no_secret_of_one_that_is_not(house: House) -> None:
    bound = await house.caller("clients:admin", ip_allow_list=("10.0.0.0/8",))
    free_id, free_secret = await house.client("clients:admin")
    refused = await house.http.post(f"/v1/clients/{free_id}/secrets", json={"overlap_seconds": 0}, headers=bound)
    assert (refused.status_code, refused.json()["code"]) == (403, "exceeds_own_rights")
    assert (await house.check(free_id, free_secret)).status_code == 200
    for scopes, networks in (("clients:admin", ("10.1.0.0/16",)), ("points:admin", ())):
        other, _ = await house.client(scopes, ip_allow_list=networks)
        assert (await house.http.post(f"/v1/clients/{other}/secrets", headers=bound)).status_code == 201


def test_a_client_gives_no_more_than_its_operator_may() -> None:
    """The rule itself: who may register gives every scope; who may not, none; networks bind other operators too."""
    operator = Registration("Operator", scopes=("clients:admin",))
    bound = replace(operator, ip_allow_list=("10.0.0.0/8", "2001:db8::/32"))
    for scope in SCOPES:
        given = Registration("Given", scopes=(scope,))
        check_within_rights(given, operator)
        for others in (replace(operator, scopes=()), replace(operator, scopes=(*THIRD_PARTY_SCOPES, "sso:admin"))):
            with pytest.raises(ExceedsOwnRights):
                check_within_rights(given, others)
        for networks, is_within in {
            (): False,
            ("10.1.0.0/16", "2001:db8:1::/48"): True,
            ("10.0.0.0/7",): False,
        }.items():
            asked = replace(given, ip_allow_list=networks)
            if is_within or scope != "clients:admin":
                check_within_rights(asked, bound)
            else:
                with pytest.raises(ExceedsOwnRights):
                    check_within_rights(asked, bound)


async def test_the_services_own_client_is_out_of_the_reach_of_operators_clients(house: House) -> None:
    operator = await house.caller("clients:admin")
    client_id = own_client_id(house.tenant, "1")
    async with house.register.database.transaction() as connection:
        new = await house.register.clients.register(
            connection, house.tenant, Registration("Links in mails", scopes=("tokens:issue",)), client_id=client_id
        )
    for method, path in (("POST", "/secrets"), ("DELETE", "/secrets/1"), ("DELETE", "")):
        refused = await house.http.request(method, f"/v1/clients/{client_id}{path}", headers=operator)
        assert (refused.status_code, refused.json()["code"]) == (409, "client_internal"), path
    assert (await house.check(client_id, new.client_secret)).status_code == 200


async def test_a_token_of_a_disabled_client_opens_nothing_of_the_register(house: House) -> None:
    await house.user("erika")
    client_id, secret = await house.client("users:read")
    headers = house.neighbours.access_token(house.tenant, client_id, "users:read")
    assert (await house.http.get("/v1/users/erika", headers=headers)).status_code == 200
    operator = await house.caller("clients:admin")
    await house.http.delete(f"/v1/clients/{client_id}", headers=operator)
    refused = await house.http.get("/v1/users/erika", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "inactive_token")
    # A scope that was never the client's is worth nothing, whatever the token says.
    other, _ = await house.client("points:read")
    more = house.neighbours.access_token(house.tenant, other, "users:read")
    assert (await house.http.get("/v1/users/erika", headers=more)).status_code == 403
    elsewhere = house.neighbours.access_token(await house.another_tenant(), other, "points:read")
    assert (await house.http.get("/v1/clients/self", headers=elsewhere)).status_code == 401
    assert secret


async def test_operators_show_their_secret_a_token_is_not_enough(house: House) -> None:
    client_id, secret = await house.client("clients:admin")
    token = house.neighbours.access_token(house.tenant, client_id, "clients:admin")
    for path in ("/v1/clients", "/v1/audit", "/v1/integration-requests", "/v1/consents"):
        refused = await house.http.get(path, headers=token)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), path
        assert (await house.http.get(path, headers=basic(client_id, secret))).status_code == 200
    own = await house.http.post("/v1/clients/self/secrets", headers=token)
    assert (own.status_code, own.json()["code"]) == (403, "secret_needed")
