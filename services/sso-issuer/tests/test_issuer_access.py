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
    strangers,
    tells_apart,
)
from platform_testing.callers import ServiceKeys
from platform_testing.issuer_world import World
from shared.dependencies import provided
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys

TABLE: dict[tuple[str, str], Access] = {
    **of_events("redirects", "sso:admin", "points:redeem"),
    ("POST", "/sso/v1/redirects"): scope("sso:issue"),
    ("GET", "/sso/v1/issuances"): scope("sso:admin"),
    ("GET", "/sso/v1/vendors"): scope("sso:admin"),
    ("PUT", "/sso/v1/vendors/{vendor_id}"): scope("sso:admin"),
    ("GET", "/sso/v1/vendors/{vendor_id}"): scope("sso:admin"),
    ("POST", "/sso/v1/vendors/{vendor_id}/secrets"): scope("sso:admin"),
    ("POST", "/sso/v1/tokens/redeem"): scope("points:redeem"),
    ("POST", "/sso/v1/inspect"): scope("points:redeem", "sso:admin"),
    ("GET", "/sso/v1/vendors/{vendor_id}/examples"): scope("points:redeem", "sso:admin"),
    ("POST", "/sso/v1/keys/rotate"): scope("sso:admin"),
    ("GET", "/sso/v1/authority-events"): scope("sso:admin"),
    ("GET", "/sso/static/{name}"): PUBLIC,
    ("GET", "/.well-known/jwks.json"): PUBLIC,
    ("GET", "/tenants/{tenant}/jwks.json"): PUBLIC,
    ("GET", "/tenants/{tenant}/receipts/jwks.json"): PUBLIC,
    ("GET", "/tenants/{tenant}/.well-known/openid-configuration"): PUBLIC,
    ("GET", "/.well-known/oauth-authorization-server/tenants/{tenant}"): PUBLIC,
    ("GET", "/.well-known/openid-configuration/tenants/{tenant}"): PUBLIC,
    ("GET", "/tenants/{tenant}/oauth/authorize"): PUBLIC,
    ("OPTIONS", "/sso/v1/redeem/{vendor_id}"): PUBLIC,
    # Answers 401 as JSON, and a page that leads to the sign-in page for a browser.
    ("POST", "/sso/v1/redeem/{vendor_id}"): person(),
    ("GET", "/sso/v1/redeem/{vendor_id}"): person(),
    # Asks for a client id and secret in the form itself.
    ("GET", "/developers/inspect"): PUBLIC,
    ("POST", "/developers/inspect"): PUBLIC,
    ("POST", "/internal/sandboxes/{tenant}"): service("partner-onboarding"),
    ("GET", "/internal/tenants/{tenant}/vendors/{vendor_id}"): service("points-ledger"),
    ("GET", "/internal/tenants/{tenant}/vendors"): service("partner-onboarding"),
    ("POST", "/internal/tenants/{tenant}/test-clients"): service("partner-onboarding"),
    ("GET", "/internal/tenants/{tenant}/users/{user_id}/issuances"): service("partner-onboarding"),
    ("GET", "/internal/tenants/{tenant}/keys"): service("points-ledger", "partner-onboarding", "token-service"),
    ("POST", "/internal/tenants/{tenant}/receipts"): service("points-ledger"),
    ("GET", "/internal/revoked-keys"): service("points-ledger", "partner-onboarding", "token-service"),
}
#: The authority asks for a client of its tenant in ways of its own (RFC 6749, 2.3).
OF_CLIENTS = {
    ("POST", "/tenants/{tenant}/oauth/token"),
    ("POST", "/tenants/{tenant}/oauth/introspect"),
    ("POST", "/tenants/{tenant}/oauth/revoke"),
}


async def test_every_route_is_open_to_those_whom_the_table_names(world: World, service_keys: ServiceKeys) -> None:
    assert routes_of(world.app) == set(TABLE) | OF_CLIENTS
    await world.put_vendor()
    key = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    # An administrator's token counts as long as the register knows its client.
    world.add_third_party("third-party", scopes=SCOPES)
    world.onboarding.clients["third-party"]["kind"] = "first_party"
    credentials: list[Credential] = [
        *clients(world.register, world.tenant),
        *access_tokens(Authority(world.tenant, key), Authority(world.tenant), int(time.time())),
        *service_tokens(service_keys, "sso-issuer"),
        Credential("session", world.sign_in(), roles=frozenset()),
    ]
    values = {"vendor_id": "none", "tenant": world.tenant, "name": "none.css", "endpoint_id": "none"}
    assert await deviations(world.client, TABLE, credentials, values) == []


async def test_an_authority_answers_clients_of_its_own_tenant_only(
    world: World, service_keys: ServiceKeys, tenant: str
) -> None:
    """A client that is let in hears that its form lacks something; nobody else hears more than 401."""
    await world.put_vendor()
    stranger = world.register.add(f"{tenant}-2", *SCOPES)
    refused = [
        *[one.headers for one in strangers() if not one.is_nobody],
        stranger,
        service_keys.headers("points-ledger", "sso-issuer"),
    ]
    for _method, template in OF_CLIENTS:
        path = template.replace("{tenant}", world.tenant)
        known = await world.client.post(path, data={"x": "y"}, headers=world.register.add(world.tenant, "sso:admin"))
        assert known.status_code == 400, path
        for headers in refused:
            answer = await world.client.post(path, data={"x": "y"}, headers=headers)
            assert answer.status_code == 401, (path, headers)
            assert answer.json()["error"] == "invalid_client"
        nobody = await world.client.post(path, data={"x": "y"})
        assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client"), path


async def test_another_tenant_cannot_tell_what_exists(world: World, tenant: str) -> None:
    await world.put_vendor()
    stranger = world.register.add(f"{tenant}-2", *SCOPES)
    found = await tells_apart(world.client, TABLE, stranger, {"vendor_id": "shop"}, {"vendor_id": "none"})
    assert found == []
