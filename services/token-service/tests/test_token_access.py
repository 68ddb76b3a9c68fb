"""Every route is open to the credentials that its line in this table names, and to no others."""

import time

from platform_testing.access import (
    PUBLIC,
    SCOPES,
    Access,
    Authority,
    Credential,
    access_tokens,
    clients,
    deviations,
    of_events,
    person,
    routes_of,
    scope,
    service,
    service_tokens,
    tells_apart,
)
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.serving import running
from token_service.app import create_app

from .campaign_house import OFFER, FakeSessions, House
from .conftest import MakeSettings

TABLE: dict[tuple[str, str], Access] = {
    **of_events("tokens", "tokens:stats", takes_bearer=True),
    ("POST", "/v1/tokens"): scope("tokens:issue"),
    ("POST", "/v1/tokens/batch"): scope("tokens:issue"),
    ("POST", "/v1/tokens/import"): scope("tokens:issue"),
    ("POST", "/v1/tokens/{token}/verify"): scope("tokens:verify"),
    ("GET", "/v1/tokens/{token}"): scope("tokens:verify"),
    ("PATCH", "/v1/tokens/{token}"): scope("tokens:issue"),
    ("DELETE", "/v1/tokens/{token}"): scope("tokens:issue"),
    ("GET", "/v1/tokens/{token}/stats"): scope("tokens:stats"),
    ("GET", "/v1/tokens/{token}/qr.svg"): scope("tokens:issue", "tokens:verify"),
    ("GET", "/v1/tokens/{token}/qr.png"): scope("tokens:issue", "tokens:verify"),
    ("GET", "/v1/campaigns"): scope("tokens:stats"),
    ("GET", "/v1/campaigns/{campaign_id}/stats"): scope("tokens:stats"),
    ("GET", "/v1/campaigns/{campaign_id}/tokens"): scope("tokens:stats"),
    ("DELETE", "/v1/campaigns/{campaign_id}/tokens"): scope("tokens:issue"),
    ("PUT", "/v1/campaigns/{campaign_id}/landing"): scope("tokens:issue"),
    ("GET", "/v1/campaigns/{campaign_id}/landing"): scope("tokens:issue", "tokens:stats"),
    ("DELETE", "/v1/campaigns/{campaign_id}/landing"): scope("tokens:issue"),
    ("POST", "/internal/sandboxes/{tenant}"): service("partner-onboarding"),
    ("GET", "/t/static/{name}"): PUBLIC,
    ("GET", "/campaigns"): person("tenant_admin"),
    ("GET", "/campaign-lists"): person("tenant_admin"),
    ("POST", "/campaign-lists"): person("tenant_admin"),
    ("GET", "/campaign-lists/{upload_id}"): person("tenant_admin"),
    ("POST", "/campaign-lists/{upload_id}"): person("tenant_admin"),
    ("GET", "/campaigns/{campaign_id}"): person("tenant_admin"),
    # A made-up token leads to no campaign, so that nothing tells whether it was let in: 403 invalid_signature.
    ("GET", "/t/{token}"): PUBLIC,
    ("POST", "/t/{token}"): PUBLIC,
}


async def test_every_route_is_open_to_those_whom_the_table_names(
    make_settings: MakeSettings, register: FakeRegister, service_keys: ServiceKeys, tenant: str
) -> None:
    authority, now, sessions = Authority(tenant), int(time.time()), FakeSessions()
    app = create_app(
        make_settings(bad_signatures_per_credential=10**6, bad_signatures_per_address=10**6),
        register=register,
        onboarding_transport=sessions.transport(),
        issuer_transport=authority.transport(),
    )
    assert routes_of(app) == set(TABLE)
    credentials: list[Credential] = [
        *clients(register, tenant),
        *access_tokens(authority, Authority(tenant), now),
        *service_tokens(service_keys, "token-service"),
    ]
    for role in ("tenant_admin", "operator"):
        credentials.append(
            Credential(f"session, {role}", sessions.add(f"{tenant}.{role}", tenant, role), roles=frozenset({role}))
        )
    values = {"token": "0" * 32, "campaign_id": "none", "name": "none.css"}
    async with running(app) as client:
        assert await deviations(client, TABLE, credentials, values) == []


async def test_another_tenant_cannot_tell_what_exists(house: House, register: FakeRegister, tenant: str) -> None:
    token = await house.issue()
    landing = await house.client.put("/v1/campaigns/spring/landing", json=OFFER, headers=house.headers)
    assert landing.status_code in {200, 201}
    stranger = register.add(f"{tenant}-2", *SCOPES)
    existing = {"token": token, "campaign_id": "spring"}
    missing = {"token": "0" * 32, "campaign_id": "none"}
    assert await tells_apart(house.client, TABLE, stranger, existing, missing) == []
