"""Where the tables are distributed, tenants that ask at the same time get the same answers, each from its own rows."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from platform_testing.callers import FakeRegister
from platform_testing.issuer_world import REDIRECT_URI, World, body_of, claims_of
from platform_testing.serving import PUBLIC_URL
from sso_issuer.app import create_app

from .conftest import MakeSettings


@pytest.fixture
async def worlds(world: World, make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[list[World]]:
    """Three tenants of a service whose tables count as distributed."""
    app = create_app(
        make_settings(database_distributed=True),
        register=register,
        ledger_transport=httpx.ASGITransport(world.ledger.app),
        onboarding_transport=httpx.ASGITransport(world.onboarding.app),
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client,
    ):
        several = []
        for _ in range(3):
            tenant = f"t-{secrets.token_hex(6)}"
            one = replace(world, app=app, client=client, tenant=tenant)
            one.platform, one.admin = register.add(tenant, "sso:issue"), register.add(tenant, "sso:admin")
            one.add_user(one.user_id)
            one.onboarding.tenants.add(tenant)
            several.append(one)
        yield several


async def test_redirects_of_several_tenants_are_issued_and_redeemed_at_once(worlds: list[World]) -> None:
    await asyncio.gather(*(one.put_vendor("shop", algorithm="HS256") for one in worlds))
    await asyncio.gather(*(one.add_secret() for one in worlds))
    vendors = [one.vendor_client("shop") for one in worlds]
    issued = await asyncio.gather(*(one.redirect() for one in worlds for _ in range(4)))
    owners = [one for one in worlds for _ in range(4)]
    issuers = [claims_of(one["token"])["iss"] for one in issued]
    assert issuers == [one.issuer for one in owners]
    callers = [vendor for vendor in vendors for _ in range(4)]
    brought = [*zip(owners, issued, callers, strict=True)] * 2
    answers = await asyncio.gather(*(one.redeem(redirect["token"], vendor) for one, redirect, vendor in brought))
    assert sorted(answer.status_code for answer in answers) == [200] * 12 + [409] * 12
    # What another tenant issued is nobody else's.
    assert (await worlds[0].redeem(issued[-1]["token"], vendors[0])).status_code == 400


async def test_access_tokens_of_several_tenants_are_given_read_and_revoked_at_once(worlds: list[World]) -> None:
    clients = [one.add_third_party() for one in worlds]
    for one, (client_id, _) in zip(worlds, clients, strict=True):
        one.consent(client_id, "points:read")
    pairs = list(zip(worlds, clients, strict=True))
    given = await asyncio.gather(
        *(one.oauth("token", auth=auth, grant_type="client_credentials") for one, auth in pairs for _ in range(4))
    )
    tokens = [body_of(answer, 200)["access_token"] for answer in given]
    asking = [pair for pair in pairs for _ in range(4)]
    await asyncio.gather(
        *(
            one.oauth("revoke", auth=auth, token=token)
            for (one, auth), token in zip(asking[::2], tokens[::2], strict=True)
        )
    )
    told = await asyncio.gather(
        *(one.oauth("introspect", auth=auth, token=token) for (one, auth), token in zip(asking, tokens, strict=True))
    )
    assert [body_of(answer, 200)["active"] for answer in told] == [False, True] * 6


async def test_a_code_gives_one_token_in_each_tenant(worlds: list[World]) -> None:
    pairs = []
    for one in worlds:
        client_id, secret = one.add_third_party()
        one.consent(client_id, "points:read")
        pairs.append((one, (client_id, secret), one.give_code(client_id, None)))
    for status in (200, 400):
        answers = await asyncio.gather(
            *(
                one.oauth("token", auth=auth, grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI)
                for one, auth, code in pairs
            )
        )
        assert [answer.status_code for answer in answers] == [status] * 3
