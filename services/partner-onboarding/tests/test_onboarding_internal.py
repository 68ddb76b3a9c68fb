"""What the platform's other services may ask, and that nobody else may."""

import asyncio
import time

import httpx
import pytest
from shared.service_tokens import TYP
from sqlalchemy import text

from .onboarding_house import House

PATHS = [
    ("POST", "/internal/clients/check", {"client_id": "a", "client_secret": "b"}, "points-ledger"),
    ("POST", "/internal/sessions/check", {"session": "a.b"}, "sso-issuer"),
    ("POST", "/internal/tenants/demo/profiles", {"user_ids": ["erika"]}, "sso-issuer"),
    ("GET", "/internal/origins?origin=https://front.example", None, "sso-issuer"),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), PATHS)
async def test_internal_paths_take_only_good_service_tokens(
    house: House, method: str, path: str, body: dict[str, str] | None, allowed: str
) -> None:
    signer = house.keys.tokens(allowed)._signing_key
    now = int(time.time())

    def token(typ: str = TYP, **claims: object) -> str:
        good = {"iss": allowed, "aud": "partner-onboarding", "iat": now, "exp": now + 60, "jti": "call-1"}
        return signer.sign(good | claims, typ)

    async def status(authorization: str | None) -> int:
        headers = {} if authorization is None else {"Authorization": authorization}
        return (await house.http.request(method, path, json=body, headers=headers)).status_code

    good = await status(f"Bearer {token()}")
    assert good in {200, 404}
    assert await status(None) == 401
    assert await status("Bearer nonsense") == 401
    assert await status(f"Bearer {token(exp=now - 60, iat=now - 120)}") == 401
    assert await status(f"Bearer {token(aud='points-ledger')}") == 401
    assert await status(f"Bearer {token(iss='token-service')}") == 401
    assert await status(f"Bearer {token(exp=now + 3600)}") == 401
    assert await status(f"Bearer {token('at+jwt')}") == 401
    client = await house.caller("clients:admin", "users:read")
    assert await status(client["Authorization"]) == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "foreign"),
    [
        ("POST", "/internal/sessions/check", {"session": "a.b"}, "points-ledger"),
        ("POST", "/internal/tenants/demo/profiles", {"user_ids": ["erika"]}, "token-service"),
        ("POST", "/internal/tenants/demo/profiles", {"user_ids": ["erika"]}, "points-ledger"),
        ("GET", "/internal/origins?origin=https://front.example", None, "points-ledger"),
    ],
)
async def test_a_service_may_ask_only_what_it_needs(
    house: House, method: str, path: str, body: dict[str, str] | None, foreign: str
) -> None:
    answer = await house.http.request(method, path, json=body, headers=house.service(foreign))
    assert answer.status_code == 403


async def test_unknown_id_and_wrong_secret_get_the_same_answer(house: House) -> None:
    client_id, secret = await house.client("points:read")
    answers = [
        await house.check(client_id, secret[:-1] + "!"),
        await house.check("nobody", secret),
        await house.check("", ""),
        await house.check("no body\x00\ud800".encode("utf-8", "replace").decode(), "x" * 4000),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"invalid_client"}
    assert len({answer.json()["detail"] for answer in answers}) == 1


async def test_when_a_secret_was_last_used_is_written_behind_the_check(house: House) -> None:
    client_id, secret = await house.client("points:read")
    assert (await house.check(client_id, secret)).status_code == 200
    async with house.register.database.transaction() as connection:
        statement = text(
            "SELECT last_used_at, now() - last_used_at < interval '1 minute' AS is_recent"
            " FROM partner_onboarding.client_secrets WHERE client_id = :client_id"
        )
        # Written in batches by a chore of the service; each look is a round trip to the database.
        async with asyncio.timeout(60):
            while (row := (await connection.execute(statement, {"client_id": client_id})).one()).last_used_at is None:
                continue
    assert row.is_recent


async def test_a_session_is_told_with_roles_and_origins_until_it_is_signed_out(house: House) -> None:
    email = await house.user("admin", roles=("tenant_admin",))
    signed_in = await house.sign_in(email)
    cookie = signed_in.cookies["__Host-session"]

    async def check() -> tuple[int, dict[str, object]]:
        answer = await house.http.post(
            "/internal/sessions/check", json={"session": cookie}, headers=house.service("token-service")
        )
        return answer.status_code, answer.json()

    assert await check() == (
        200,
        {
            "tenant": house.tenant,
            "user_id": "admin",
            "roles": ["tenant_admin"],
            "allowed_origins": ["https://front.example"],
            "tenant_name": (await house.register.tenants.get(house.tenant)).name,
        },
    )
    await house.http.post("/logout")
    status, body = await check()
    assert (status, body["code"]) == (404, "no_session")


@pytest.mark.parametrize("session", ["", "nonsense", "demo." + "x" * 43, "\u0000", "x" * 4000])
async def test_a_session_that_was_never_given_out_is_none(house: House, session: str) -> None:
    answer = await house.http.post(
        "/internal/sessions/check", json={"session": session}, headers=house.service("sso-issuer")
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "no_session")


@pytest.mark.parametrize(
    "ending", ["seen_at = now() - interval '2 hours'", "expires_at = created_at + interval '1 us'"]
)
async def test_a_session_ends_when_idle_and_in_any_case_after_its_lifetime(house: House, ending: str) -> None:
    signed_in = await house.sign_in(await house.user())
    body = {"session": signed_in.cookies["__Host-session"]}
    headers = house.service("sso-issuer")
    assert (await house.http.post("/internal/sessions/check", json=body, headers=headers)).status_code == 200
    async with house.register.database.transaction() as connection:
        await connection.execute(
            # One of the two endings above.
            text(f"UPDATE partner_onboarding.sessions SET {ending} WHERE tenant = :tenant"),  # noqa: S608
            {"tenant": house.tenant},
        )
    assert (await house.http.post("/internal/sessions/check", json=body, headers=headers)).status_code == 404


async def test_the_issuer_reads_profiles_of_the_tenant_it_names(house: House) -> None:
    email = await house.user("jörg", firstname="Jörg", lastname="Groß")
    second = await house.user("a/b")
    other = await house.another_tenant()

    async def ask(tenant: str, *user_ids: str) -> httpx.Response:
        body = {"user_ids": list(user_ids)}
        headers = house.service("sso-issuer")
        return await house.http.post(f"/internal/tenants/{tenant}/profiles", json=body, headers=headers)

    profile = {"user_id": "jörg", "firstname": "Jörg", "lastname": "Groß", "email": email, "email_verified": True}
    assert (await ask(house.tenant, "jörg")).json() == {"profiles": [profile], "absent": []}
    many = (await ask(house.tenant, "nobody", "a/b", "jörg", "jörg", "nobody")).json()
    assert {one["email"] for one in many["profiles"]} == {email, second}
    assert many["absent"] == ["nobody"]
    assert (await ask(other, "jörg")).json() == {"profiles": [], "absent": ["jörg"]}
    for wrong in ([], ["u"] * 257, [""]):
        assert (await ask(house.tenant, *wrong)).status_code == 400


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://front.example", True),
        ("HTTPS://Front.Example:443", True),
        ("https://front.example.evil.example", False),
        ("http://front.example", False),
        ("null", False),
        ("", False),
    ],
)
async def test_only_configured_origins_are_allowed(house: House, origin: str, allowed: bool) -> None:
    answer = await house.http.get("/internal/origins", params={"origin": origin}, headers=house.service("sso-issuer"))
    assert answer.json() == {"allowed": allowed}


async def test_many_secrets_are_checked_in_one_call_each_on_its_own(house: House) -> None:
    """One refused among them harms no neighbour, and the order is that of the question."""
    (first, secret), (second, other) = await house.client("points:read"), await house.client("points:redeem")
    asked = [(second, other), (first, other), ("nobody", secret), ("", ""), (first, secret), (second, other)]
    body = {"credentials": [{"client_id": id_, "client_secret": given} for id_, given in asked]}
    answer = await house.http.post("/internal/clients/check-many", json=body, headers=house.service("sso-issuer"))
    found = [client and client["client_id"] for client in answer.json()["clients"]]
    assert found == [second, None, None, None, first, second]
    assert answer.json()["clients"][4] == (await house.check(first, secret)).json()


async def test_no_more_secrets_are_checked_in_one_call_than_a_line_carries(house: House) -> None:
    one = {"client_id": "nobody", "client_secret": "none"}
    for count, status in ((0, 400), (256, 200), (257, 400)):
        answer = await house.http.post(
            "/internal/clients/check-many", json={"credentials": [one] * count}, headers=house.service("sso-issuer")
        )
        assert answer.status_code == status


async def test_many_clients_are_found_in_one_call_without_those_that_are_disabled(house: House) -> None:
    (first, _), (gone, _) = await house.client("points:read"), await house.client("points:redeem")
    operator = await house.caller("clients:admin")
    assert (await house.http.delete(f"/v1/clients/{gone}", headers=operator)).status_code in {200, 204}
    body = {"client_ids": [gone, first, "nobody", "A/b", first]}
    answer = await house.http.post("/internal/clients/find-many", json=body, headers=house.service("sso-issuer"))
    assert [client["client_id"] for client in answer.json()["clients"]] == [first]
    assert answer.json()["clients"][0]["scopes"] == ["points:read"]


async def test_many_sessions_are_checked_in_one_call_each_on_its_own(house: House) -> None:
    await house.sign_in(await house.user())
    (cookie,) = (value for name, value in house.http.cookies.items() if name.endswith("session"))
    body = {"sessions": [f"{cookie}x", cookie, "", "a.b", cookie]}
    answer = await house.http.post("/internal/sessions/check-many", json=body, headers=house.service("sso-issuer"))
    alone = await house.http.post(
        "/internal/sessions/check", json={"session": cookie}, headers=house.service("sso-issuer")
    )
    assert answer.json()["sessions"] == [None, alone.json(), None, None, alone.json()]


async def test_many_consents_are_found_in_one_call_each_of_its_own_tenant(house: House) -> None:
    asked = [
        {"tenant": tenant, "client_id": one} for tenant in (house.tenant, "other") for one in ("nobody", "A/b", "")
    ]
    for count, status in ((0, 400), (6, 200), (257, 400)):
        body = {"consents": (asked * 50)[:count]}
        answer = await house.http.post("/internal/consents/find-many", json=body, headers=house.service("sso-issuer"))
        assert answer.status_code == status
        assert status == 400 or answer.json() == {"consents": []}
