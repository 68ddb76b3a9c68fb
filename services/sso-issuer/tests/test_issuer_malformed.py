"""Bad input is refused with 400, 413 or 415 and a stable code: never with 422, never with a 5xx."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from platform_testing.issuer_world import World

CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "redirect": ("POST", "/sso/v1/redirects", {"user_id": "user-1", "vendor_id": "shop"}),
    "redeem": ("POST", "/sso/v1/tokens/redeem", {"token": "a.b.c"}),
    "vendor": (
        "PUT",
        "/sso/v1/vendors/shop",
        {
            "name": "Shop",
            "redirect_url": "https://shop.example/",
            "delivery": "query",
            "algorithm": "ES256",
            "lifetime_seconds": 60,
            "claim_spelling": "lower",
            "audience": "shop",
        },
    ),
    "secret": ("POST", "/sso/v1/vendors/shop/secrets", {"overlap_seconds": 1, "signs_in_seconds": 1}),
    "rotate": ("POST", "/sso/v1/keys/rotate", {"algorithm": "ES256", "immediately": False, "revoke_former": False}),
}
#: What may be null because it may be left out and has no other way to say so.
NULLABLE = {("vendor", "audience"), ("rotate", "algorithm")}
ODD: list[Any] = [7, 1.5, True, "", " ", "\0", "a\0b", "\ud800", "x" * 10_000, [], {}, ["x"], -1, 1e400, 10**30]
IDS = ("user_id", "vendor_id", "token", "name", "audience")


@pytest.fixture
async def caller(world: World) -> dict[str, str]:
    await world.put_vendor()
    return world.register.add(world.tenant, "sso:issue", "sso:admin", "points:redeem", vendor_id="shop")


async def _refused(world: World, name: str, caller: dict[str, str], **sent: Any) -> None:
    method, path, _ = CALLS[name]
    headers = caller | {"Content-Type": "application/json"} | sent.pop("headers", {})
    answer = await world.client.request(method, path, headers=headers, **sent)
    assert answer.status_code == 400, (sent, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"].replace("_", "").isalpha()


@pytest.mark.parametrize("name", CALLS)
async def test_bodies_of_the_wrong_form_are_refused(world: World, caller: dict[str, str], name: str) -> None:
    _, _, body = CALLS[name]
    for content in (b"[]", b'"x"', b"7", b"{", b"\xff\xfe", b"{'a':1}", b'{"a":1}', b"NaN", b"[" * 5000):
        await _refused(world, name, caller, content=content)
    await _refused(world, name, caller, json=body | {"extra": 1})
    await _refused(world, name, caller, json=[body])


@pytest.mark.parametrize("name", ["redirect", "redeem", "vendor"])
async def test_a_body_that_is_missing_or_lacks_something_is_refused(
    world: World, caller: dict[str, str], name: str
) -> None:
    _, _, body = CALLS[name]
    for content in (b"", b"null", b"{}"):
        await _refused(world, name, caller, content=content)
    for field in set(body) & {"user_id", "vendor_id", "token", "name", "redirect_url"}:
        await _refused(world, name, caller, json={key: value for key, value in body.items() if key != field})


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, call in CALLS.items() for field in call[2]])
async def test_fields_of_the_wrong_kind_are_refused(
    world: World, caller: dict[str, str], name: str, field: str
) -> None:
    _, _, body = CALLS[name]
    for value in [*ODD, *([] if (name, field) in NULLABLE else [None])]:
        is_fine = (isinstance(value, bool) and field in {"immediately", "revoke_former"}) or (
            type(value) is int and value == 7 and field.endswith("_seconds")
        )
        if is_fine or (value == 1e400 and field not in IDS):
            continue
        await _refused(world, name, caller, content=json.dumps(body | {field: value}).encode())


@pytest.mark.parametrize("name", CALLS)
async def test_another_type_of_body_is_refused(world: World, caller: dict[str, str], name: str) -> None:
    method, path, _ = CALLS[name]
    for media_type in ("application/x-www-form-urlencoded", "text/plain", "application/xml"):
        headers = caller | {"Content-Type": media_type}
        answer = await world.client.request(method, path, content=b"a=1", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("name", CALLS)
async def test_a_huge_body_is_refused(world: World, caller: dict[str, str], name: str) -> None:
    method, path, _ = CALLS[name]
    headers = caller | {"Content-Type": "application/json"}

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b'"' + b"x" * 100_000

    declared = await world.client.request(method, path, content=b"x" * 2_000_000, headers=headers)
    assert declared.status_code == 413
    undeclared = await world.client.request(method, path, content=stream(), headers=headers)
    assert (undeclared.status_code, undeclared.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("name", ["redirect", "redeem", "secret", "rotate"])
@pytest.mark.parametrize("key", [b"", b" ", b"a b", b"\xff", b"x" * 256])
async def test_an_odd_idempotency_key_is_refused(world: World, caller: dict[str, str], name: str, key: bytes) -> None:
    method, path, body = CALLS[name]
    sent: Any = {key_: value.encode() for key_, value in caller.items()} | {"Idempotency-Key": key}
    answer = await world.client.request(method, path, json=body, headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_idempotency_key")


@pytest.mark.parametrize(
    "path",
    [
        "/sso/v1/vendors/" + "x" * 10_000,
        "/sso/v1/vendors/%00",
        "/sso/v1/vendors/a%00b",
        "/sso/v1/vendors/%20",
        "/sso/v1/vendors/%ff%fe",
        "/sso/v1/vendors?limit=0",
        "/sso/v1/vendors?limit=201",
        "/sso/v1/vendors?limit=x",
        "/sso/v1/vendors?cursor=%00",
        "/sso/v1/issuances?limit=-1",
        "/sso/v1/issuances?user_id=%00",
        "/sso/v1/issuances?vendor_id=",
        "/sso/v1/issuances?cursor=",
        "/sso/v1/redeem/%00",
    ],
)
async def test_odd_addresses_are_refused(world: World, caller: dict[str, str], path: str) -> None:
    answer = await world.client.get(path, headers=caller | {"Accept": "application/json"})
    assert answer.status_code in {400, 404}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_refusal_never_repeats_what_was_sent(world: World, caller: dict[str, str]) -> None:
    secret = "eyJhbGciOiJub25lIn0.e30."
    for body in ({"token": [secret]}, {"token": secret, "x": secret}, {"token": secret * 1000}):
        answer = await world.client.post("/sso/v1/tokens/redeem", json=body, headers=caller)
        assert answer.status_code == 400
        assert secret not in answer.text


async def test_wrong_methods_and_unknown_addresses_are_said_so(world: World, caller: dict[str, str]) -> None:
    assert (await world.client.get("/sso/v1/redirects", headers=caller)).status_code == 405
    assert (await world.client.delete("/sso/v1/vendors/shop", headers=caller)).status_code == 405
    assert (await world.client.get("/sso/v1/nothing", headers=caller)).status_code == 404
