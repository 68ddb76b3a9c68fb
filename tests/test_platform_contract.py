"""What callers see of the platform that runs, in the contract's own spelling, through the gateway."""

import base64
import json
import re
import secrets
import ssl
import stat
import subprocess
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .running_platform import REPOSITORY, SERVICES, RunningPlatform, until

SCOPES = {
    "platform": {"points:admin", "points:read", "sso:issue", "sso:admin", "users:read", "users:write"},
    "vendor": {"points:redeem"},
    "campaign": {"tokens:issue", "tokens:verify", "tokens:stats"},
    "partner": {"partner:handshake"},
    "operator": {"clients:admin"},
}
SPECIAL = {"vendor": {"vendor_id"}, "partner": {"landing_url"}, "third_party": {"redirect_uri"}}

#: One call for each scope; `{user}` is somebody of the tenant.
CALLS: dict[str, tuple[str, str, Any]] = {
    "points:redeem": ("GET", "/eai/v1/points", None),
    "points:read": ("GET", "/v1/accounts/{user}", None),
    "points:admin": ("PUT", "/v1/accounts/{user}", None),
    "sso:issue": ("POST", "/sso/v1/redirects", {"user_id": "{user}", "vendor_id": "rewards-shop"}),
    "sso:admin": ("GET", "/sso/v1/issuances", None),
    "users:read": ("GET", "/v1/users/{user}", None),
    "tokens:issue": ("POST", "/v1/tokens", "token"),
    "tokens:verify": ("POST", "/v1/tokens/{campaign_token}/verify", None),
    "tokens:stats": ("GET", "/v1/campaigns/contract/stats", None),
    "partner:handshake": ("GET", "/user/partner/event-list", None),
    "clients:admin": ("GET", "/v1/clients", None),
}
#: Scopes that include another.
ALSO = {"points:read": {"points:admin"}, "users:read": {"users:write"}, "tokens:verify": set(), "tokens:stats": set()}
TOKEN_ORDER = {
    "base_url": "https://campaign.example/landing",
    "customer_id": "customer-1",
    "campaign_id": "contract",
    "duration": "PT24H",
}


def test_demo_json_says_all_that_is_needed_to_nobody_but_its_owner(platform: RunningPlatform) -> None:
    assert stat.S_IMODE(platform.demo_json.stat().st_mode) == 0o600
    told = json.loads(platform.demo_json.read_text())
    base = platform.ports.base
    assert set(told) == {
        "gateway",
        "gateway_tls",
        "gateway_ca",
        "services",
        "tenant",
        "clients",
        "users",
        "tenant_admin",
        "operator_user",
        "other_tenant",
        "sandbox",
    }
    assert (told["gateway"], told["gateway_tls"]) == (f"http://localhost:{base}", f"https://localhost:{base + 443}")
    ports = dict(zip((*SERVICES, "rewards-shop"), (1, 2, 3, 4, 10), strict=True))
    assert told["services"] == {name: f"http://127.0.0.1:{base + offset}" for name, offset in ports.items()}
    assert told["tenant"] == "demo"
    assert set(told["clients"]) == {*SCOPES, "third_party"}
    for role, client in told["clients"].items():
        assert set(client) == {"client_id", "client_secret", "scopes"} | SPECIAL.get(role, set())
        assert role == "third_party" or set(client["scopes"]) == SCOPES[role]
    assert set(told["tenant_admin"]) == set(told["operator_user"]) == {"email", "password"}
    other = told["other_tenant"]
    assert set(other) == {"tenant", "clients", "users"}
    assert other["tenant"] == "other"
    assert set(other["clients"]) == {"vendor", "platform"}
    assert set(other["clients"]["vendor"]) == {"client_id", "client_secret", "scopes", "vendor_id"}
    sandbox = told["sandbox"]
    assert set(sandbox) == {"tenant", "clients", "users"}
    assert set(sandbox["clients"]) == {"vendor", "platform"}
    assert {"user-insufficient", "user-slow", "user-503", "user-expiring"} < {
        user["user_id"] for user in sandbox["users"]
    }
    for user in (*told["users"], *other["users"], *sandbox["users"]):
        assert set(user) == {"user_id", "email", "password", "firstname", "lastname", "points"}
        assert isinstance(user["points"], int)


async def test_each_client_reaches_what_its_scopes_say_and_nothing_else(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    campaign_token = (await http.post("/v1/tokens", auth=platform.auth("campaign"), json=TOKEN_ORDER)).json()["token"]
    user = platform.description["users"][1]["user_id"]
    for role, scopes in SCOPES.items():
        for scope, (method, path, body) in CALLS.items():
            address = path.format(user=user, campaign_token=campaign_token)
            filled = TOKEN_ORDER if body == "token" else json.loads(json.dumps(body).replace("{user}", user))
            answer = await http.request(method, address, json=filled, auth=platform.auth(role))
            if scopes & {scope, *ALSO.get(scope, ())}:
                assert answer.status_code in {200, 201}, f"{role} {method} {address}: {answer.text}"
            else:
                assert answer.status_code == 403, f"{role} {method} {address}: {answer.text}"
                assert answer.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("credentials", [None, ("demo-platform", "wrong"), ("nobody", "nothing")])
async def test_who_is_not_known_is_asked_for_credentials_everywhere(
    http: httpx.AsyncClient, credentials: tuple[str, str] | None
) -> None:
    for method, path, body in CALLS.values():
        address = path.format(user="u", campaign_token="0" * 32)
        answer = await http.request(
            method, address, json=body, auth=httpx.BasicAuth(*credentials) if credentials else None
        )
        assert answer.status_code == 401, f"{method} {address}: {answer.text}"
        challenge = answer.headers["www-authenticate"]
        assert "Basic realm=" in challenge
        assert "Bearer" in challenge
        kind = "application/json" if path.startswith("/eai/") else "application/problem+json"
        assert answer.headers["content-type"] == kind


async def test_before_the_tenant_has_consented_a_third_party_reads_nothing(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    third_party, user = platform.auth("third_party"), platform.description["users"][0]["user_id"]
    for method, path, body in CALLS.values():
        address = path.format(user=user, campaign_token="0" * 32)
        answer = await http.request(method, address, json=body, auth=third_party)
        assert answer.status_code in {401, 403}, f"{method} {address}: {answer.text}"
    answer = await http.post("/tenants/demo/oauth/token", auth=third_party, data={"grant_type": "client_credentials"})
    assert answer.status_code >= 400
    assert "access_token" not in answer.text


async def test_the_journey_in_the_words_of_the_contract(platform: RunningPlatform, http: httpx.AsyncClient) -> None:
    admin, vendor = platform.auth("platform"), platform.auth("vendor")
    customer = await platform.new_customer(http, 1000)
    user_id = customer.user_id
    account = (await http.get(f"/v1/accounts/{user_id}", auth=admin)).json()
    assert set(account) == {"user_id", "available", "held", "total", "as_of"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", account["as_of"])

    async def eai(operation: str, **body: Any) -> dict[str, Any]:
        answer = await http.post(f"/eai/v1/points?{operation}", auth=vendor, json={"userid": user_id, **body})
        assert answer.headers["content-type"] == "application/json"
        return {"http": answer.status_code, **answer.json()}

    first, second, third = (f"order-{secrets.token_hex(6)}" for _ in range(3))
    held = await eai("commit", pointstodeduct=400, transactionid=first, description="a book")
    assert held.pop("expiresat") > account["as_of"]
    assert held == {
        "http": 200,
        "status": "success",
        "message": "points committed for transaction",
        "transactionid": first,
        "state": "held",
        "points": 400,
        "available": 600,
    }
    assert await platform.balance(http, user_id) == (600, 400)
    confirmed = await eai("confirm", transactionid=first)
    assert confirmed == {
        "http": 200,
        "status": "success",
        "message": "points successfully deducted",
        "transactionid": first,
        "state": "confirmed",
        "points": 400,
        "available": 600,
    }
    again = await eai("confirm", transactionid=first)
    assert (again["http"], again["status"], again["code"], again["state"]) == (
        409,
        "failed",
        "points_already_deducted",
        "confirmed",
    )
    refused = await eai("commit", pointstodeduct=601, transactionid=second, description="too dear")
    assert (refused["http"], refused["status"], refused["code"], refused["state"]) == (
        400,
        "failed",
        "insufficient_points",
        "rejected",
    )
    await eai("commit", pointstodeduct=600, transactionid=third, description="sold out")
    rolled_back = await eai("rollback", transactionid=third)
    assert (rolled_back["http"], rolled_back["message"], rolled_back["state"]) == (
        200,
        "points successfully rolled back",
        "rolled_back",
    )
    refund = await eai("refund", transactionid=first, refundid="refund-1", points=150)
    assert refund["http"] == 200
    assert await platform.balance(http, user_id) == (750, 0)
    statement = (await http.get(f"/v1/accounts/{user_id}/entries", auth=admin)).json()["entries"]
    assert [(entry["points"], entry["balance"]) for entry in statement] == [(150, 750), (-400, 600), (1000, 1000)]


def test_what_the_readme_says_to_type_does_what_it_says(platform: RunningPlatform) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    (script,) = [block for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "/eai/v1/points" in block]
    for written, here in (("http://localhost:8000", platform.gateway), (".run/demo.json", str(platform.demo_json))):
        assert written in script
        script = script.replace(written, here)
    typed = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, check=False)
    assert typed.returncode == 0, typed.stderr
    shown = typed.stdout
    for said in ('"available":', '"state":"held"', '"points successfully deducted"', '"points_already_deducted"'):
        assert said in shown
        shown = shown.partition(said)[2]


async def test_the_token_says_to_the_letter_who_comes_and_opens_the_shop_once(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    customer = await platform.new_customer(http, 1250)
    order = {"user_id": customer.user_id, "vendor_id": "rewards-shop"}
    answer = await http.post("/sso/v1/redirects", auth=platform.auth("platform"), json=order)
    assert answer.status_code == 201
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    redirect = answer.json()
    assert set(redirect) == {"vendor_id", "delivery", "url", "fields", "token", "jti", "expires_at"}
    assert redirect["url"] == f"{platform.shop}/redeem?token={redirect['token']}"
    assert (redirect["delivery"], redirect["fields"]) == ("query", {})

    header, claims = await verified(redirect["token"], f"{platform.gateway}/.well-known/jwks.json")
    assert header["typ"] == "JWT"
    assert claims["exp"] - claims["iat"] == 60
    assert {name: claims[name] for name in set(claims) - {"iat", "exp"}} == {
        "firstname": "Erika",
        "lastname": "Muster",
        "points": 1250,
        "email": customer.email,
        "email_verified": True,
        "userid": customer.user_id,
        "iss": f"{platform.gateway}/tenants/demo",
        "aud": "rewards-shop",
        "jti": redirect["jti"],
    }
    assert (await verified(redirect["token"], f"{claims['iss']}/jwks.json"))[1] == claims

    credit = {"points": 50, "reference": "since", "reason": "a bonus"}
    await http.post(f"/v1/accounts/{customer.user_id}/credits", auth=platform.auth("platform"), json=credit)
    token = {"token": redirect["token"]}
    foreign = await http.post("/sso/v1/tokens/redeem", auth=platform.auth("vendor", "other"), json=token)
    assert foreign.status_code in {400, 404}
    redeemed = await http.post("/sso/v1/tokens/redeem", auth=platform.auth("vendor"), json=token)
    assert redeemed.status_code == 200
    assert redeemed.json() == claims | {"points_now": 1300}
    again = await http.post("/sso/v1/tokens/redeem", auth=platform.auth("vendor"), json=token)
    assert (again.status_code, again.json()["code"]) == (409, "token_already_redeemed")
    forged = redirect["token"][:-8] + ("AAAAAAAA" if not redirect["token"].endswith("AAAAAAAA") else "BBBBBBBB")
    refused = await http.post("/sso/v1/tokens/redeem", auth=platform.auth("vendor"), json={"token": forged})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_signature")


async def test_a_repetition_with_the_same_key_gets_the_first_answer_and_changes_nothing(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    customer = await platform.new_customer(http, 1000)
    hold = {
        "userid": customer.user_id,
        "pointstodeduct": 100,
        "transactionid": f"order-{secrets.token_hex(6)}",
        "description": "x",
    }
    credit = {"points": 5, "reference": secrets.token_hex(6), "reason": "x"}
    order = {"user_id": customer.user_id, "vendor_id": "rewards-shop"}
    for role, path, body, change in (
        ("vendor", "/eai/v1/points?commit", hold, {"pointstodeduct": 99}),
        ("platform", f"/v1/accounts/{customer.user_id}/credits", credit, {"points": 6}),
        ("platform", "/sso/v1/redirects", order, {"user_id": "somebody else"}),
        ("campaign", "/v1/tokens", TOKEN_ORDER, {"customer_id": "customer-2"}),
        ("operator", "/v1/clients", {"name": "Idempotent", "scopes": ["points:read"]}, {"name": "Other"}),
    ):
        auth, key = platform.auth(role), {"Idempotency-Key": f'"{secrets.token_hex(8)}"'}
        first = await http.post(path, auth=auth, json=body, headers=key)
        again = await http.post(path, auth=auth, json=body, headers=key)
        other = await http.post(path, auth=auth, json=body | change, headers=key)
        assert first.status_code in {200, 201}, f"{path}: {first.text}"
        assert "idempotency-replayed" not in first.headers
        assert (again.status_code, again.json()) == (first.status_code, first.json()), path
        assert again.headers["idempotency-replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused"), path
    assert await platform.balance(http, customer.user_id) == (905, 100)


async def test_a_tenant_cannot_see_beyond_its_wall(platform: RunningPlatform, http: httpx.AsyncClient) -> None:
    """What is another tenant's, and what nobody has, gets the same answer."""
    customer = await platform.new_customer(http, 500)
    order = f"order-{secrets.token_hex(6)}"
    hold = {"userid": customer.user_id, "pointstodeduct": 100, "transactionid": order, "description": "x"}
    assert (await http.post("/eai/v1/points?commit", auth=platform.auth("vendor"), json=hold)).status_code == 200
    there, nowhere = {"user_id": customer.user_id, "order": order}, {"user_id": "nobody", "order": "none"}
    for role, method, path, body in (
        ("platform", "GET", "/v1/accounts/{user_id}", None),
        ("platform", "GET", "/v1/accounts/{user_id}/entries", None),
        ("platform", "POST", "/v1/accounts/{user_id}/credits", {"points": 1, "reference": "r", "reason": "r"}),
        ("platform", "POST", "/v1/accounts/{user_id}/debits", {"points": 1, "reference": "d", "reason": "r"}),
        ("platform", "GET", "/v1/users/{user_id}", None),
        ("platform", "POST", "/sso/v1/redirects", {"user_id": "{user_id}", "vendor_id": "rewards-shop"}),
        ("vendor", "GET", "/eai/v1/points/{order}", None),
        ("vendor", "POST", "/eai/v1/points?confirm", {"userid": "{user_id}", "transactionid": "{order}"}),
        (
            "vendor",
            "POST",
            "/eai/v1/points?commit",
            {"userid": "{user_id}", "pointstodeduct": 1, "transactionid": "n{order}", "description": "x"},
        ),
    ):
        answers = []
        for names in (there, nowhere):
            filled = {
                name: value.format(**names) if isinstance(value, str) else value for name, value in (body or {}).items()
            }
            answer = await http.request(
                method, path.format(**names), auth=platform.auth(role, "other"), json=filled if body else None
            )
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
            told = {name: value for name, value in answer.json().items() if name not in {"request_id", "transactionid"}}
            answers.append(told)
        assert answers[0] == answers[1], path
    listed = (await http.get("/eai/v1/points", auth=platform.auth("vendor", "other"))).json()
    assert order not in [one["transactionid"] for one in listed["transactions"]]
    assert await platform.balance(http, customer.user_id) == (400, 100)


@pytest.mark.parametrize(
    "path",
    [
        "/internal/clients/check",
        "/internal/tenants/demo/accounts/demo-ada",
        "/metrics",
        "/healthz",
        "/readyz",
        "/docs",
        "/openapi.json",
        "/eai/../internal/clients/check",
        "/eai/%2e%2e/internal/clients/check",
        "/v1/accounts/..%2f..%2finternal/clients/check",
        "//internal/clients/check",
        "/sso//../metrics",
    ],
)
async def test_what_is_for_the_inside_is_not_to_be_had_outside(
    platform: RunningPlatform, http: httpx.AsyncClient, path: str
) -> None:
    url = httpx.URL(platform.gateway).copy_with(raw_path=path.encode())
    for method in ("GET", "POST"):
        answer = await http.request(method, url)
        assert answer.status_code in {401, 404, 405}, f"{method} {path}: {answer.status_code}"
        assert answer.status_code == 404 or "internal" not in answer.text
    assert "server" not in answer.headers


async def test_operations_are_at_each_service_itself(platform: RunningPlatform, http: httpx.AsyncClient) -> None:
    for name in SERVICES:
        url = platform.description["services"][name]
        assert (await http.get(f"{url}/healthz")).status_code == 200
        assert (await http.get(f"{url}/readyz")).json()["status"] == "ready"
        assert "# TYPE" in (await http.get(f"{url}/metrics")).text
        assert (await http.get(f"{url}/openapi.json")).json()["openapi"].startswith("3.1")
        assert (await http.get(f"{url}/docs")).status_code == 200


async def test_the_gateway_speaks_https_under_its_own_authority(platform: RunningPlatform) -> None:
    url, authority = platform.description["gateway_tls"], platform.description["gateway_ca"]
    trusting = ssl.create_default_context(cafile=authority)
    user = platform.description["users"][0]["user_id"]
    async with httpx.AsyncClient(verify=trusting, trust_env=False, base_url=url) as client:
        answer = await client.get(f"/v1/users/{user}", auth=platform.auth("platform"))
        assert (answer.status_code, answer.json()["user_id"]) == (200, user)
        assert (await client.get("/internal/clients/check")).status_code == 404
    async with httpx.AsyncClient(verify=ssl.create_default_context(), trust_env=False, base_url=url) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("/login")


async def test_one_request_id_is_found_in_all_logs_that_it_touches(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    customer = await platform.new_customer(http, 10)
    request_id = f"traced-{secrets.token_hex(8)}"
    order = {"user_id": customer.user_id, "vendor_id": "rewards-shop"}
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"X-Request-Id": request_id, "traceparent": parent}
    answer = await http.post("/sso/v1/redirects", auth=platform.auth("platform"), json=order, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["x-request-id"] == request_id
    for name in ("sso-issuer", "points-ledger", "partner-onboarding"):
        until(lambda name=name: request_id in platform.log(name), f"the request in the log of {name}")  # type: ignore[misc]
        lines = [json.loads(line) for line in platform.log(name).splitlines() if request_id in line]
        assert {line["request_id"] for line in lines} == {request_id}
        assert {line["traceparent"].split("-")[1] for line in lines} == {parent.split("-")[1]}
    made = await http.get("/v1/accounts/nobody", headers={"X-Request-Id": "not decent; at all"})
    assert re.fullmatch(r"[A-Za-z0-9._-]{16,128}", made.headers["x-request-id"])
    assert made.json()["request_id"] == made.headers["x-request-id"]


async def verified(token: str, jwks_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, after the signature was checked with nothing but what is published (RFC 7515, ES256)."""
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(jwks_url)
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["etag"]
    (key,) = [key for key in answer.json()["keys"] if key["kid"] == header["kid"]]
    assert (key["kty"], key["crv"], key["alg"], header["alg"]) == ("EC", "P-256", "ES256", "ES256")
    assert "d" not in key
    x, y = (int.from_bytes(_decoded(key[name])) for name in ("x", "y"))
    raw = _decoded(signature)
    encoded = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    public_key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public_key.verify(encoded, signed.encode(), ec.ECDSA(hashes.SHA256()))
    return header, claims


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
