"""Bad input is the sender's fault and is told so: 400 with a stable code, never a 422, never a 5xx."""

from typing import Any

import pytest

from .onboarding_house import House

USER = {"email": "erika@example.com", "firstname": "Erika", "lastname": "Mustermann"}
LONG = "x" * 10_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"email": "not an address"}, "malformed_email"),
        ({"email": "a\x00@example.com"}, "malformed_email"),
        ({"email": LONG}, "malformed_request"),
        ({"email": None}, "malformed_request"),
        ({"email": 7}, "malformed_request"),
        ({"email": ["a@example.com"]}, "malformed_request"),
        ({"firstname": ""}, "malformed_request"),
        ({"firstname": "  "}, "malformed_name"),
        ({"firstname": "a\x00b"}, "malformed_name"),
        ({"lastname": LONG}, "malformed_request"),
        ({"lastname": {"a": 1}}, "malformed_request"),
        ({"password": "short"}, "password_too_short"),
        ({"password": "four lanterns\x00 near a harbour"}, "password_unprintable"),
        ({"password": "passwordpassword"}, "password_guessable"),
        ({"password": "erika mustermann 1"}, "password_guessable"),
        ({"password": LONG}, "malformed_request"),
        ({"password": 12345678}, "malformed_request"),
        ({"tenant": "other"}, "malformed_request"),
        ({"roles": ["operator"]}, "malformed_request"),
    ],
)
async def test_users(house: House, change: dict[str, Any], code: str) -> None:
    headers = await house.caller("users:write")
    answer = await house.http.put("/v1/users/erika", json=USER | change, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert LONG not in answer.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "malformed_request"),
        ({"name": "a\x00b"}, "malformed_request"),
        ({"name": "   "}, "malformed_client"),
        ({"name": "Shop \u202egnihtemos"}, "malformed_client"),
        ({"name": "Shop\u2028Shop"}, "malformed_client"),
        ({"name": LONG}, "malformed_request"),
        ({"scopes": "points:read"}, "malformed_request"),
        ({"scopes": ["everything"]}, "unknown_scope"),
        ({"scopes": ["\x00"]}, "unknown_scope"),
        ({"scopes": [LONG]}, "malformed_request"),
        ({"scopes": ["points:read"] * 1000}, "malformed_request"),
        ({"kind": "fourth_party"}, "malformed_request"),
        ({"vendor_id": ""}, "malformed_request"),
        ({"vendor_id": "a\x00"}, "malformed_request"),
        ({"vendor_id": LONG}, "malformed_request"),
        ({"landing_url": "http://shop.example/"}, "invalid_url"),
        ({"landing_url": "javascript:alert(1)"}, "invalid_url"),
        ({"landing_url": "https://shop.example/\x00"}, "invalid_url"),
        ({"redirect_uris": ["https://shop.example/#x"]}, "invalid_url"),
        ({"redirect_uris": [LONG]}, "malformed_request"),
        ({"redirect_uris": ["https://shop.example/"] * 51}, "malformed_request"),
        ({"ip_allow_list": ["10.0.0.1/8"]}, "invalid_network"),
        ({"ip_allow_list": ["\x00"]}, "invalid_network"),
        ({"ip_allow_list": [LONG]}, "malformed_request"),
        ({"ip_allow_list": [None]}, "malformed_request"),
    ],
)
async def test_clients(house: House, change: dict[str, Any], code: str) -> None:
    headers = await house.caller("clients:admin")
    answer = await house.http.post("/v1/clients", json={"name": "Shop"} | change, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert len(answer.content) < 2000


@pytest.mark.parametrize("overlap", [-1, 2_592_001, 10**30, 1.5, "60", None, True, [60]])
async def test_overlaps(house: House, overlap: Any) -> None:
    headers = await house.caller("clients:admin")
    client_id, _ = await house.client("points:read")
    answer = await house.http.post(
        f"/v1/clients/{client_id}/secrets", json={"overlap_seconds": overlap}, headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b'{"email": "a", "firstname": "\\ud800', "application/json", 400, "malformed_json"),
        (b"", "application/json", 400, "malformed_request"),
        (b"{", "application/json", 400, "malformed_json"),
        (b"\xff\xfe\x00", "application/json", 400, "malformed_request"),
        (b"[]", "application/json", 400, "malformed_request"),
        (b"null", "application/json", 400, "malformed_request"),
        (b"NaN", "application/json", 400, "malformed_request"),
        (b"[" * 100_000, "application/json", 400, "malformed_request"),
        (b'{"email": "a@example.com"}', "text/plain", 415, "unsupported_media_type"),
        (b"email=a@example.com", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
async def test_bodies(house: House, content: bytes, content_type: str, status: int, code: str) -> None:
    headers = await house.caller("users:write", "clients:admin") | {"Content-Type": content_type}
    for method, path in (("PUT", "/v1/users/erika"), ("POST", "/v1/clients")):
        answer = await house.http.request(method, path, content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path


async def test_bodies_beyond_a_mebibyte(house: House) -> None:
    headers = await house.caller("users:write", "clients:admin") | {"Content-Type": "application/json"}
    for method, path in (("PUT", "/v1/users/erika"), ("POST", "/v1/clients")):
        answer = await house.http.request(method, path, content=b'"' + b"x" * 2_000_000 + b'"', headers=headers)
        assert answer.status_code == 413


async def test_lone_surrogates_in_json(house: House) -> None:
    headers = await house.caller("users:write", "clients:admin") | {"Content-Type": "application/json"}
    user = b'{"email": "a@example.com", "firstname": "\\ud800", "lastname": "b"}'
    assert (await house.http.put("/v1/users/a", content=user, headers=headers)).status_code == 400
    password = b'{"email": "a@example.com", "firstname": "a", "lastname": "b", "password": "12345678\\udfff"}'
    assert (await house.http.put("/v1/users/a", content=password, headers=headers)).status_code == 400
    client = b'{"name": "\\ud800", "scopes": ["\\ud800"], "vendor_id": "\\ud800"}'
    assert (await house.http.post("/v1/clients", content=client, headers=headers)).status_code == 400
    check = b'{"client_id": "\\ud800", "client_secret": "\\ud800"}'
    internal = house.service("points-ledger") | {"Content-Type": "application/json"}
    answer = await house.http.post("/internal/clients/check", content=check, headers=internal)
    assert answer.status_code in {400, 404}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/users/%00", 400),
        ("/v1/users/%20a", 400),
        ("/v1/users/" + "x" * 129, 400),
        ("/v1/users/%ff", 400),
        ("/v1/users/", 404),
        ("/v1/clients/%00", 400),
        ("/v1/clients/" + "x" * 65, 400),
        ("/v1/clients/a:b", 400),
        ("/v1/clients?limit=0", 400),
        ("/v1/clients?limit=many", 400),
        ("/v1/clients?cursor=%00", 400),
    ],
)
async def test_paths_and_queries(house: House, path: str, status: int) -> None:
    headers = await house.caller("users:read", "clients:admin")
    answer = await house.http.get(path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("n", ["0", "-1", "one", "99999999999999999999"])
async def test_numbers_of_secrets(house: House, n: str) -> None:
    headers = await house.caller("clients:admin")
    client_id, _ = await house.client("points:read")
    assert (await house.http.delete(f"/v1/clients/{client_id}/secrets/{n}", headers=headers)).status_code == 400


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic !",
        "Basic YQ==",
        "Basic Og==",
        "Basic AAA6AAA=",
        "Bearer",
        "Bearer a.b.c",
        "Digest x",
        "Basic /w==",
    ],
)
async def test_credentials(house: House, authorization: str) -> None:
    answer = await house.http.get("/v1/clients", headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers


async def test_openapi_promises_no_422_and_hides_what_is_internal(house: House) -> None:
    schema = (await house.http.get("/openapi.json")).json()
    # Those of events are the same in all services.
    assert {path for path in schema["paths"] if not path.startswith("/events/")} == {
        *("/v1/users/{user_id}", "/v1/clients", "/v1/clients/{client_id}", "/v1/clients/{client_id}/secrets"),
        *("/v1/clients/{client_id}/secrets/{n}", "/healthz", "/readyz"),
        *("/v1/clients/self", "/v1/clients/self/secrets", "/v1/users/{user_id}/entitlements"),
        *("/v1/integration-requests", "/v1/integration-requests/{request_id}"),
        *("/v1/integration-requests/{request_id}/approve", "/v1/integration-requests/{request_id}/decline"),
        *("/v1/consents", "/v1/consents/{client_id}", "/v1/audit"),
        *("/v1/sandbox/clock", "/v1/sandbox/reset"),
        *("/user/partner/init-register-handshake", "/user/partner/redeem-handshake", "/user/partner/event-list"),
        *("/user/partner/activate-user/{userId}", "/user/partner/remove-user/{userId}", "/user/partner/billing"),
    }
    for path in schema["paths"].values():
        for operation in path.values():
            assert "422" not in operation["responses"]
