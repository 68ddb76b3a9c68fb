"""Where the tables are distributed, what is asked about several tenants at once is read from each by itself."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from partner_onboarding.app import create_app
from partner_onboarding.register.tables import sessions
from partner_onboarding.settings import Settings
from platform_testing.callers import ServiceKeys
from platform_testing.serving import running
from sqlalchemy import select, update

from .handshake_partner import Partner
from .integration_partner import consented_code, sign_in_as, third_party
from .onboarding_house import FAST, House, Running


@pytest.fixture
async def houses(
    service: Running, settings: Settings, house: House, service_keys: ServiceKeys
) -> AsyncIterator[list[House]]:
    """Three tenants of a service whose tables count as distributed."""
    transport = httpx.ASGITransport(service.neighbours)
    app = create_app(
        settings.model_copy(update={"database_distributed": True}),
        cost=FAST,
        ledger_transport=transport,
        issuer_transport=transport,
        tokens_transport=httpx.ASGITransport(service.tokens),
    )
    async with running(app):
        several = []
        for _ in range(3):
            tenant = f"t-{secrets.token_hex(6)}"
            await service.register.tenants.create(tenant, f"Tenant {tenant}", ())
            several.append(House(app, service.register, house.neighbours, tenant, service_keys))
        yield several
        for one in several:
            await one.http.aclose()


async def test_sessions_of_several_tenants_are_checked_in_one_call(houses: list[House]) -> None:
    for one in houses:
        await one.sign_in(await one.user())
    cookies = [one.http.cookies["__Host-session"] for one in houses]
    async with houses[0].register.database.transaction() as connection:
        of_these = sessions.c.tenant.in_([one.tenant for one in houses])
        long_ago = sessions.c.seen_at - timedelta(minutes=5)
        await connection.execute(update(sessions).where(of_these).values(seen_at=long_ago))
        before = dict((await connection.execute(select(sessions.c.tenant, sessions.c.seen_at).where(of_these))).all())
    foreign = f"{houses[0].tenant}.{cookies[1].partition('.')[2]}"
    answer = await houses[0].http.post(
        "/internal/sessions/check-many",
        json={"sessions": [cookies[2], foreign, cookies[0], "nonsense", cookies[1]]},
        headers=houses[0].service("sso-issuer"),
    )
    told = [one and one["tenant"] for one in answer.json()["sessions"]]
    assert told == [houses[2].tenant, None, houses[0].tenant, None, houses[1].tenant]
    async with houses[0].register.database.transaction() as connection:
        after = dict((await connection.execute(select(sessions.c.tenant, sessions.c.seen_at).where(of_these))).all())
    assert all(after[tenant] > before[tenant] for tenant in before)


async def test_consents_of_several_tenants_are_read_in_one_call(houses: list[House]) -> None:
    client_ids = []
    for one in houses:
        client_ids.append(await third_party(one))
        await sign_in_as(one, "tenant_admin")
        await consented_code(one, client_ids[-1])
    asked = [{"tenant": one.tenant, "client_id": client_id} for one in houses for client_id in client_ids]
    answer = await houses[0].http.post(
        "/internal/consents/find-many", json={"consents": asked}, headers=houses[0].service("sso-issuer")
    )
    found = {(one["tenant"], one["client_id"]) for one in answer.json()["consents"]}
    assert found == {(one.tenant, client_id) for one, client_id in zip(houses, client_ids, strict=True)}


async def test_handshakes_of_several_tenants_begin_at_once(houses: list[House]) -> None:
    partners = [await Partner.of(one) for one in houses]
    codes = await asyncio.gather(*(one.codes() for one in partners for _ in range(4)))
    assert len({one["registerCode"] for one in codes}) == 12
    for one, given in zip(houses, codes[::4], strict=True):
        page = await one.http.get("/registrieren/", params={"registerCode": given["registerCode"]})
        assert page.status_code == 200
        assert f"Tenant {one.tenant}" in page.text
