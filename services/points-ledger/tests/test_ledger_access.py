"""Every route is open to the credentials that its line in this table names, and to no others."""

import time

import httpx
from platform_testing.access import (
    SCOPES,
    Access,
    Authority,
    Credential,
    access_tokens,
    clients,
    deviations,
    of_events,
    routes_of,
    scope,
    service,
    service_tokens,
    tells_apart,
)
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.serving import running
from points_ledger.app import create_app

from .conftest import MakeSettings
from .parties import Platform, Vendor

TABLE: dict[tuple[str, str], Access] = {
    **of_events("points", "points:redeem", "points:read", "points:admin"),
    ("POST", "/eai/v1/points"): scope("points:redeem"),
    ("GET", "/eai/v1/points"): scope("points:redeem"),
    ("GET", "/eai/v1/points/{transactionid}"): scope("points:redeem"),
    ("POST", "/eai/v1/reconciliations"): scope("points:redeem"),
    ("GET", "/eai/v1/receipts/{transactionid}"): scope("points:redeem"),
    ("PUT", "/v1/accounts/{user_id}"): scope("points:admin"),
    ("DELETE", "/v1/accounts/{user_id}"): scope("points:admin"),
    ("GET", "/v1/holds"): scope("points:admin", "points:read"),
    ("GET", "/v1/ledger/seals"): scope("points:admin", "points:read"),
    ("GET", "/eai/v1/balances/{userid}"): scope("points:redeem"),
    ("GET", "/v1/vendors/{vendor_id}"): scope("points:admin", "points:read"),
    ("GET", "/v1/accounts/{user_id}"): scope("points:admin", "points:read"),
    ("GET", "/v1/accounts/{user_id}/entries"): scope("points:admin", "points:read"),
    ("POST", "/v1/accounts/{user_id}/credits"): scope("points:admin"),
    ("POST", "/v1/accounts/{user_id}/debits"): scope("points:admin"),
    ("POST", "/v1/credits/import"): scope("points:admin"),
    ("PUT", "/v1/vendors/{vendor_id}"): scope("points:admin"),
    ("GET", "/internal/tenants/{tenant}/accounts/{user_id}/entries"): service("partner-onboarding"),
    ("GET", "/internal/tenants/{tenant}/accounts/{user_id}/holds"): service("partner-onboarding"),
    ("GET", "/internal/tenants/{tenant}/accounts/{user_id}"): service("partner-onboarding"),
    ("POST", "/internal/tenants/{tenant}/accounts/{user_id}/close"): service("partner-onboarding"),
    ("POST", "/internal/tenants/{tenant}/balances"): service("sso-issuer"),
    ("POST", "/internal/sandboxes/{tenant}"): service("partner-onboarding"),
}


async def test_every_route_is_open_to_those_whom_the_table_names(
    make_settings: MakeSettings, register: FakeRegister, service_keys: ServiceKeys, tenant: str
) -> None:
    authority, now = Authority(tenant), int(time.time())
    app = create_app(make_settings(), register=register, issuer_transport=authority.transport())
    assert routes_of(app) == set(TABLE)
    credentials: list[Credential] = [
        *clients(register, tenant),
        *access_tokens(authority, Authority(tenant), now),
        *service_tokens(service_keys, "points-ledger"),
    ]
    values = {"transactionid": "none", "userid": "none", "user_id": "none", "vendor_id": "none", "tenant": tenant}
    async with running(app) as client:
        assert await deviations(client, TABLE, credentials, values) == []


async def test_another_tenant_cannot_tell_what_exists(
    client: httpx.AsyncClient, platform: Platform, shop: Vendor, register: FakeRegister, tenant: str
) -> None:
    user = await platform.user_with(100)
    assert (await shop.commit(user, "order-1", 10)).status_code == 200
    stranger = register.add(f"{tenant}-2", *SCOPES)
    existing = {"user_id": user, "userid": user, "transactionid": "order-1", "vendor_id": "shop"}
    missing = {"user_id": "none", "userid": "none", "transactionid": "none", "vendor_id": "none"}
    assert await tells_apart(client, TABLE, stranger, existing, missing) == []
