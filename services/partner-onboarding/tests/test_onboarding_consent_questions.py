"""What other services may ask of a third party's client, and of a tenant."""

import pytest

from .integration_partner import CALLBACK
from .onboarding_house import House


async def test_the_issuer_learns_of_a_client_all_it_needs(house: House) -> None:
    # The key of RFC 7517, A.1.
    x, y = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    key = {"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y}
    operator = await house.caller("clients:admin")
    body = {"name": "Signer", "kind": "third_party", "scopes": ["points:read"], "redirect_uris": [CALLBACK]}
    made = await house.http.post("/v1/clients", json=body | {"jwks": {"keys": [key]}}, headers=operator)
    client_id = made.json()["client_id"]
    known = await house.http.get(f"/internal/clients/{client_id}", headers=house.service("sso-issuer"))
    assert known.json() == {
        "client_id": client_id,
        "tenant": house.tenant,
        "kind": "third_party",
        "scopes": ["points:read"],
        "redirect_uris": [CALLBACK],
        "jwks": {"keys": [key]},
        "name": "Signer",
        "vendor_id": None,
        "ip_allow_list": [],
    }
    tenant = await house.http.get(f"/internal/tenants/{house.tenant}", headers=house.service("sso-issuer"))
    assert tenant.json() == {"tenant": house.tenant, "name": f"Tenant {house.tenant}"}
    missing = await house.http.get("/internal/tenants/nobody", headers=house.service("sso-issuer"))
    assert (missing.status_code, missing.json()["code"]) == (404, "tenant_not_found")
    off_the_curve = key | {"x": "a" * 43, "y": "b" * 43}
    many = {"keys": [key | {"x5c": ["x" * 100_000]}]}, {"keys": [off_the_curve]}, {"keys": [key, key]}
    for wrong in (*many, {}, {"keys": []}, {"keys": [key | {"d": "secret"}]}, {"keys": [{"kty": "oct", "kid": "k"}]}):
        refused = await house.http.post("/v1/clients", json=body | {"jwks": wrong}, headers=operator)
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_jwks")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/internal/clients/nobody"),
        ("POST", "/internal/authorization-codes/redeem"),
    ],
)
async def test_only_the_issuer_may_ask(house: House, method: str, path: str) -> None:
    body = {"code": "a", "client_id": "b", "redirect_uri": "c", "code_verifier": "d"} if method == "POST" else None
    told = await house.http.request(method, path, json=body, headers=house.service("sso-issuer"))
    assert told.status_code == 404
    for service in ("points-ledger", "token-service"):
        refused = await house.http.request(method, path, json=body, headers=house.service(service))
        assert refused.status_code == 403
    assert (await house.http.request(method, path, json=body)).status_code == 401


async def test_the_issuer_and_token_service_may_ask_what_a_tenant_is_called(house: House) -> None:
    path = "/internal/tenants/nobody"
    asked = {
        name: (await house.http.get(path, headers=house.service(name))).status_code
        for name in ("sso-issuer", "token-service", "points-ledger")
    }
    assert asked == {"sso-issuer": 404, "token-service": 404, "points-ledger": 403}
    assert (await house.http.get(path)).status_code == 401
