"""Who is let in, from where, and to do what; everybody else is refused and leaves no trace."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import PUBLIC_URL, running
from points_ledger.app import create_app
from points_ledger.settings import Settings

from .parties import EAI, Platform, Vendor
from .refusals import JSON, is_failed, is_problem, no_trace

MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="module")
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture(scope="module")
async def client(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[httpx.AsyncClient]:
    issuer = httpx.MockTransport(lambda _: httpx.Response(200, json={"keys": []}))
    app = create_app(make_settings(sweep_seconds=86_400), register=register, issuer_transport=issuer)
    async with running(app) as client:
        yield client


def commit_of(user: str) -> dict[str, object]:
    return {"userid": user, "transactionid": "t", "pointstodeduct": 40, "description": "a mug"}


CREDENTIALS = {
    "missing": {},
    "empty": {"Authorization": ""},
    "wrong secret": "Basic " + base64.b64encode(b"CLIENT:wrong").decode(),
    "unknown client": "Basic " + base64.b64encode(b"nobody:wrong").decode(),
    "no colon": "Basic " + base64.b64encode(b"CLIENT").decode(),
    "no secret": "Basic " + base64.b64encode(b"CLIENT:").decode(),
    "no id": "Basic " + base64.b64encode(b":secret").decode(),
    "not base64": "Basic ???",
    "not UTF-8": "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    "NUL": "Basic " + base64.b64encode(b"CLIENT\0:wrong").decode(),
    "Basic alone": "Basic",
    "Bearer alone": "Bearer",
    "no token": "Bearer x.y.z",
    "an unsigned token": "Bearer "
    + ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "kid": "k", "typ": "at+jwt"}, {"tenant": "demo", "scope": "points:redeem"}, "")
    ),
    "another scheme": "Digest username=x",
}


@pytest.mark.parametrize("case", CREDENTIALS)
async def test_nobody_is_let_in_without_good_credentials(
    case: str,
    client: httpx.AsyncClient,
    platform: Platform,
    register: FakeRegister,
    tenant: str,
    rows: asyncpg.Connection,
) -> None:
    register.add(tenant, "points:redeem", client_id="CLIENT")
    user = await platform.user_with(100)
    given: Any = CREDENTIALS[case]
    headers = given if isinstance(given, dict) else {"Authorization": given}
    codes = ("invalid_credentials", "malformed_token", "unknown_key")
    async with no_trace(rows):
        assert is_failed(await client.post(f"{EAI}?commit", json=commit_of(user), headers=headers), 401, *codes)
        assert is_failed(await client.get(f"{EAI}/t", headers=headers), 401, *codes)
        assert is_failed(await client.get(EAI, headers=headers), 401, *codes)
        credit = {"points": 1, "reference": "r", "reason": ""}
        for kind in ("credits", "debits"):
            answer = await client.post(f"/v1/accounts/{user}/{kind}", json=credit, headers=headers)
            assert is_problem(answer, 401, *codes)
        assert is_problem(await client.put("/v1/accounts/new", headers=headers), 401, *codes)
        assert is_problem(await client.get(f"/v1/accounts/{user}", headers=headers), 401, *codes)
        answer = await client.get(f"/internal/tenants/{tenant}/accounts/{user}", headers=headers)
        assert is_problem(answer, 401, *codes)


async def test_a_caller_may_do_only_what_its_scopes_say(
    client: httpx.AsyncClient,
    shop: Vendor,
    platform: Platform,
    register: FakeRegister,
    tenant: str,
    rows: asyncpg.Connection,
) -> None:
    user = await platform.user_with(100)
    reader, stranger = register.add(tenant, "points:read"), register.add(tenant, "sso:issue")
    credit = {"points": 1, "reference": "r", "reason": ""}
    async with no_trace(rows):
        for headers in (platform.headers, reader, stranger):
            vendor = Vendor(client, headers)
            assert is_failed(await vendor.commit(user, "t", 40), 403, "insufficient_scope")
            assert is_failed(await vendor.look_up("t"), 403, "insufficient_scope")
        for headers in (shop.headers, reader, stranger):
            for kind in ("credits", "debits"):
                answer = await client.post(f"/v1/accounts/{user}/{kind}", json=credit, headers=dict(headers))
                assert is_problem(answer, 403, "insufficient_scope")
            assert is_problem(await client.put("/v1/accounts/new", headers=dict(headers)), 403, "insufficient_scope")
            hold = await client.put("/v1/vendors/shop", json={"hold_seconds": 1}, headers=dict(headers))
            assert is_problem(hold, 403, "insufficient_scope")
            imported = await client.post(
                "/v1/credits/import", content=b"", headers={**headers, "Content-Type": "application/x-ndjson"}
            )
            assert is_problem(imported, 403, "insufficient_scope")
        assert is_problem(await client.get(f"/v1/accounts/{user}", headers=stranger), 403, "insufficient_scope")
        assert (await client.get(f"/v1/accounts/{user}", headers=reader)).status_code == 200


@pytest.mark.parametrize(
    ("peer", "proxies", "forwarded", "allowed"),
    [
        ("203.0.113.5", (), [], True),
        ("::ffff:203.0.113.5", (), [], True),
        ("198.51.100.7", (), [], False),
        ("198.51.100.7", (), ["203.0.113.5"], False),
        ("10.0.0.1", ("10.0.0.0/8",), ["203.0.113.5"], True),
        ("10.0.0.1", ("10.0.0.0/8",), ["198.51.100.7"], False),
        ("10.0.0.1", ("10.0.0.0/8",), ["203.0.113.5, 198.51.100.7"], False),
        ("10.0.0.1", ("10.0.0.0/8",), ["203.0.113.5", "198.51.100.7"], False),
        ("10.0.0.1", ("10.0.0.0/8",), ["198.51.100.7, 203.0.113.5, 10.0.0.2"], True),
        ("10.0.0.1", ("10.0.0.0/8",), ["203.0.113.5, nonsense"], False),
        ("10.0.0.1", ("10.0.0.0/8",), [], False),
    ],
)
async def test_a_client_calls_from_its_own_addresses_only(
    peer: str,
    proxies: tuple[str, ...],
    forwarded: list[str],
    allowed: bool,
    client: httpx.AsyncClient,
    platform: Platform,
    register: FakeRegister,
    tenant: str,
    make_settings: MakeSettings,
    rows: asyncpg.Connection,
) -> None:
    """Nobody gets in by writing X-Forwarded-For: it counts from proxies of ours, and from the right."""
    user = await platform.user_with(100)
    headers = [*register.add(tenant, "points:redeem", ip_allow_list=("203.0.113.0/24",)).items()]
    headers += [("X-Forwarded-For", hops) for hops in forwarded] + [*JSON.items()]
    app = create_app(make_settings(trusted_proxies=proxies, sweep_seconds=86_400), register=register)
    body = json.dumps(commit_of(user))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as from_there:
            if allowed:
                assert (await from_there.post(f"{EAI}?commit", content=body, headers=headers)).status_code == 200
                return
            async with no_trace(rows):
                answer = await from_there.post(f"{EAI}?commit", content=body, headers=headers)
                assert is_failed(answer, 403, "ip_not_allowed")


async def test_a_user_of_another_tenant_is_no_user(
    shop: Vendor, register: FakeRegister, client: httpx.AsyncClient, rows: asyncpg.Connection
) -> None:
    foreign = await Platform(client, register.add("elsewhere", "points:admin")).user_with(100)
    async with no_trace(rows):
        assert is_failed(await shop.commit(foreign, "t", 40), 404, "invalid_user")
