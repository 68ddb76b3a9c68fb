"""Every route is open to the credentials that its line in this table names, and to no others."""

import time

from platform_testing.access import (
    BETWEEN,
    BETWEEN_FORM,
    PUBLIC,
    PUBLIC_FORM,
    SCOPES,
    SERVICES,
    Access,
    Authority,
    Credential,
    access_tokens,
    any_client,
    deviations,
    form,
    of_events,
    person,
    routes_of,
    scope,
    service,
    service_tokens,
    strangers,
    tells_apart,
)
from platform_testing.callers import basic, private_jwk
from shared.jwt import SigningKey

from .onboarding_house import House

_PARTNER = scope("partner:handshake")
_OPERATOR = scope("clients:admin", takes_bearer=False)
_CONSENTS = Access(frozenset({"clients:admin"}), roles=frozenset({"tenant_admin"}), takes_bearer=False)
_ADMIN_PAGE, _ADMIN_FORM = person("tenant_admin"), form("tenant_admin")
_OPERATOR_PAGE, _OPERATOR_FORM = person("operator"), form("operator")
_REQUEST = {
    "tenant": "nobody-has-this",
    "name": "An integration",
    "organisation": "Example",
    "goals": "Show points in our app.",
    "scopes": ["points:read"],
    "contact_name": "Erika Mustermann",
    "contact_email": "erika@example.com",
    "redirect_uris": ["https://app.example/callback"],
}

TABLE: dict[tuple[str, str], Access] = {
    **of_events(
        *("links", "users:read", "users:write", "partner:handshake"), takes_bearer=True, is_for_third_parties=True
    ),
    # The register.
    ("POST", "/v1/clients"): _OPERATOR,
    ("GET", "/v1/clients"): _OPERATOR,
    ("GET", "/v1/clients/self"): any_client(),
    ("POST", "/v1/clients/self/secrets"): any_client(takes_bearer=False),
    ("GET", "/v1/clients/{client_id}"): _OPERATOR,
    ("DELETE", "/v1/clients/{client_id}"): _OPERATOR,
    ("POST", "/v1/clients/{client_id}/secrets"): _OPERATOR,
    ("DELETE", "/v1/clients/{client_id}/secrets/{n}"): _OPERATOR,
    ("PUT", "/v1/users/{user_id}"): scope("users:write"),
    ("GET", "/v1/users/{user_id}"): scope("users:read", "users:write"),
    ("GET", "/v1/users/{user_id}/entitlements"): scope("users:read"),
    ("GET", "/v1/audit"): _OPERATOR,
    # In a tenant that is no sandbox both answer 404 to those whom they let in.
    ("POST", "/v1/sandbox/clock"): scope("points:admin"),
    ("POST", "/v1/sandbox/reset"): scope("points:admin"),
    # The handshake.
    ("GET", "/user/partner/init-register-handshake"): _PARTNER,
    ("POST", "/user/partner/init-register-handshake"): _PARTNER,
    ("POST", "/user/partner/redeem-handshake"): _PARTNER,
    ("GET", "/user/partner/activate-user/{userId}"): _PARTNER,
    ("POST", "/user/partner/activate-user/{userId}"): _PARTNER,
    ("DELETE", "/user/partner/remove-user/{userId}"): _PARTNER,
    ("GET", "/user/partner/event-list"): _PARTNER,
    ("GET", "/user/partner/billing"): _PARTNER,
    # Third parties. Anybody may submit a request without credentials; those of a caller must be an operator's client's.
    ("POST", "/v1/integration-requests"): Access(
        frozenset({"clients:admin"}), is_public=True, takes_bearer=False, body=_REQUEST
    ),
    ("GET", "/v1/integration-requests"): _OPERATOR,
    ("GET", "/v1/integration-requests/{request_id}"): _OPERATOR,
    ("POST", "/v1/integration-requests/{request_id}/approve"): _OPERATOR,
    ("POST", "/v1/integration-requests/{request_id}/decline"): _OPERATOR,
    ("GET", "/v1/consents"): _CONSENTS,
    ("GET", "/v1/consents/{client_id}"): _CONSENTS,
    ("DELETE", "/v1/consents/{client_id}"): _CONSENTS,
    # The other services.
    ("POST", "/internal/clients/check"): service(*SERVICES),
    ("POST", "/internal/clients/check-many"): service("sso-issuer"),
    ("POST", "/internal/clients/find-many"): service("sso-issuer"),
    ("POST", "/internal/sessions/check-many"): service("sso-issuer"),
    ("GET", "/internal/clients/{client_id}"): service("sso-issuer"),
    ("POST", "/internal/sessions/check"): service("sso-issuer", "token-service"),
    ("POST", "/internal/tenants/{tenant}/acts"): service("points-ledger", "sso-issuer", "token-service"),
    ("GET", "/internal/tenants/{tenant}"): service("sso-issuer", "token-service"),
    ("POST", "/internal/tenants/{tenant}/profiles"): service("sso-issuer"),
    ("POST", "/internal/consents/find-many"): service("sso-issuer"),
    ("GET", "/internal/origins"): service("sso-issuer"),
    ("POST", "/internal/authorization-codes/redeem"): service("sso-issuer"),
    # Pages for everybody.
    ("GET", "/login"): PUBLIC,
    ("POST", "/login"): PUBLIC_FORM,
    ("GET", "/password/forgotten"): PUBLIC,
    ("POST", "/password/forgotten"): PUBLIC_FORM,
    ("GET", "/password/reset"): PUBLIC,
    ("POST", "/password/reset"): PUBLIC_FORM,
    ("GET", "/login/code"): BETWEEN,
    ("POST", "/login/code"): BETWEEN_FORM,
    ("GET", "/login/second-factor"): BETWEEN,
    ("POST", "/login/second-factor"): BETWEEN_FORM,
    ("GET", "/register/terms"): PUBLIC,
    ("GET", "/register/privacy"): PUBLIC,
    ("GET", "/register/confirm/{tenant}/{token}"): PUBLIC,
    ("POST", "/register/confirm/{tenant}/{token}"): PUBLIC_FORM,
    ("GET", "/registrieren/"): PUBLIC,
    ("POST", "/registrieren/"): PUBLIC_FORM,
    ("GET", "/registrieren"): PUBLIC,
    ("POST", "/registrieren"): PUBLIC_FORM,
    ("GET", "/register/"): PUBLIC,
    ("POST", "/register/"): PUBLIC_FORM,
    ("GET", "/register"): PUBLIC,
    ("POST", "/register"): PUBLIC_FORM,
    ("GET", "/integrations"): PUBLIC,
    ("GET", "/integrations/apply"): PUBLIC,
    ("POST", "/integrations/apply"): PUBLIC_FORM,
    ("GET", "/integrations/thanks"): PUBLIC,
    ("GET", "/developers/test-client"): PUBLIC,
    ("POST", "/developers/test-client"): PUBLIC_FORM,
    ("GET", "/static/{name}"): PUBLIC,
    # Pages for people who are signed in.
    ("GET", "/"): person(),
    ("GET", "/account"): person(),
    ("GET", "/account/data"): person(),
    ("GET", "/account/confirmation"): person(),
    ("POST", "/account/confirmation"): form(),
    ("GET", "/account/statement"): person(),
    ("GET", "/account/sessions"): person(),
    ("POST", "/account/sessions/end-others"): form(),
    ("GET", "/account/unlink"): person(),
    ("POST", "/account/unlink"): form(),
    ("GET", "/account/profile"): person(),
    ("POST", "/account/profile"): form(),
    ("GET", "/account/email"): PUBLIC,
    ("POST", "/account/email"): PUBLIC_FORM,
    ("GET", "/account/password"): person(),
    ("POST", "/account/password"): form(),
    ("GET", "/account/second-factor"): person(),
    ("POST", "/account/second-factor/begin"): form(),
    ("POST", "/account/second-factor"): form(),
    ("POST", "/account/second-factor/codes"): form(),
    ("POST", "/account/second-factor/remove"): form(),
    ("GET", "/account/delete"): person(),
    ("POST", "/account/delete"): form(),
    # Pages for tenant admins.
    ("GET", "/setup/{client_id}"): _ADMIN_PAGE,
    ("POST", "/setup/{client_id}"): _ADMIN_FORM,
    ("GET", "/consents"): _ADMIN_PAGE,
    ("GET", "/consents/{client_id}"): _ADMIN_PAGE,
    ("GET", "/consents/{client_id}/receipts/{version}"): _ADMIN_PAGE,
    ("POST", "/consents/{client_id}/designated-user"): _ADMIN_FORM,
    ("POST", "/consents/{client_id}/withdraw"): _ADMIN_FORM,
    # Pages for operators.
    ("GET", "/operations"): _OPERATOR_PAGE,
    ("GET", "/operations/audit"): _OPERATOR_PAGE,
    ("GET", "/operations/requests/{request_id}"): _OPERATOR_PAGE,
    ("POST", "/operations/requests/{request_id}/approve"): _OPERATOR_FORM,
    ("POST", "/operations/requests/{request_id}/decline"): _OPERATOR_FORM,
    ("GET", "/operations/handovers/{handover_id}"): _OPERATOR_PAGE,
    ("POST", "/operations/handovers/{handover_id}/done"): _OPERATOR_FORM,
    ("GET", "/operations/people"): _OPERATOR_PAGE,
    ("GET", "/operations/people/person"): _OPERATOR_PAGE,
    ("POST", "/operations/people/revoke-role"): _OPERATOR_FORM,
    ("POST", "/operations/people/disable"): _OPERATOR_FORM,
    ("POST", "/operations/people/enable"): _OPERATOR_FORM,
    ("POST", "/operations/people/end-sessions"): _OPERATOR_FORM,
    ("GET", "/operations/clients"): _OPERATOR_PAGE,
    ("GET", "/operations/clients/{client_id}"): _OPERATOR_PAGE,
    ("GET", "/operations/clients/{client_id}/edit"): _OPERATOR_PAGE,
    ("POST", "/operations/clients/{client_id}/edit"): _OPERATOR_FORM,
    ("GET", "/operations/new-client"): _OPERATOR_PAGE,
    ("POST", "/operations/new-client"): _OPERATOR_FORM,
    ("POST", "/operations/clients/{client_id}/secrets"): _OPERATOR_FORM,
    ("POST", "/operations/clients/{client_id}/secrets/{n}/end"): _OPERATOR_FORM,
    ("POST", "/operations/clients/{client_id}/disable"): _OPERATOR_FORM,
    # The last one, since it ends the sessions. It needs no form; other sites cannot press it.
    ("POST", "/logout"): PUBLIC,
}


async def test_every_route_is_open_to_those_whom_the_table_names(house: House) -> None:
    assert routes_of(house.app) == set(TABLE)
    authority = await _authority(house)
    credentials: list[Credential] = [
        *strangers(),
        *[Credential(f"Basic, {one}", await house.caller(one), frozenset({one})) for one in SCOPES],
        *await _ended_clients(house),
        *access_tokens(authority, Authority(house.tenant), int(time.time())),
        *service_tokens(house.keys, "partner-onboarding"),
        *[await _session(house, role) for role in ("", "tenant_admin", "operator")],
    ]
    values = {
        "client_id": "nobody-has-this",
        "request_id": "0190a1b2c3d4e5f60190a1b2c3d4e5f6",
        "handover_id": "0190a1b2c3d4e5f60190a1b2c3d4e5f6",
        "user_id": "nobody",
        "userId": "nobody",
        "n": "1",
        "version": "1",
        "tenant": house.tenant,
        "token": "0" * 32,
        "name": "none.css",
    }
    async with house.browser() as browser:
        assert await deviations(browser, TABLE, credentials, values) == []


async def _authority(house: House) -> Authority:
    """The tenant's authority, whose tokens are for a client that has every scope."""
    jwk = dict(private_jwk("access"))
    house.neighbours.signing[house.tenant] = jwk
    client_id, _ = await house.client(*SCOPES)
    return Authority(house.tenant, SigningKey.from_jwk(jwk), client_id=client_id)


async def _ended_clients(house: House) -> list[Credential]:
    """A disabled client, one whose secret was revoked, and a third party, whose secret is for its authority alone."""
    disabled, secret = await house.client(*SCOPES)
    revoked, revoked_secret = await house.client(*SCOPES)
    await house.register.clients.disable(house.tenant, disabled)
    await house.register.clients.revoke_secret(house.tenant, revoked, 1)
    return [
        Credential("Basic, a disabled client", basic(disabled, secret)),
        Credential("Basic, a revoked secret", basic(revoked, revoked_secret)),
        Credential(
            "Basic, a third party's secret",
            await house.caller(
                "points:read", "users:read", kind="third_party", redirect_uris=("https://app.example/callback",)
            ),
            frozenset(),
            is_third_party=True,
        ),
    ]


async def _session(house: House, role: str) -> Credential:
    roles = (role,) if role else ()
    email = await house.user(f"user-{role or 'plain'}", roles=roles)
    answer = await house.sign_in(email)
    cookie = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
    house.http.cookies.clear()
    return Credential(f"session, {role or 'no role'}", {"Cookie": cookie}, roles=frozenset(roles))


async def test_another_tenant_cannot_tell_what_exists(house: House) -> None:
    await house.user("erika")
    client_id, _ = await house.client("points:read")
    submitted = await house.http.post("/v1/integration-requests", json=_REQUEST | {"tenant": house.tenant})
    request_id = submitted.json()["request_id"]
    stranger = await house.caller(*SCOPES, tenant=await house.another_tenant())
    existing = {"user_id": "erika", "userId": "erika", "client_id": client_id, "request_id": request_id, "n": "1"}
    missing = {
        "user_id": "nobody",
        "userId": "nobody",
        "client_id": "nobody-has-this",
        "request_id": request_id[:-1] + ("0" if request_id[-1] != "0" else "1"),
        "n": "1",
    }
    assert await tells_apart(house.http, TABLE, stranger, existing, missing) == []
