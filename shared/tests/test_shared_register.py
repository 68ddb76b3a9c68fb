"""What the register says over HTTP, and what makes no sense."""

import httpx
import pytest
from platform_testing.callers import ServiceKeys
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.register import Client, HttpRegister

GOOD = {
    "client_id": "shop",
    "tenant": "demo",
    "kind": "third_party",
    "scopes": ["points:read"],
    "vendor_id": None,
    "ip_allow_list": ["10.0.0.0/8"],
}


async def over_http(service_keys: ServiceKeys, answer: httpx.Response) -> Client | None:
    register = ServiceClient(
        "http://register.invalid",
        audience="partner-onboarding",
        service_tokens=service_keys.tokens("points-ledger"),
        transport=httpx.MockTransport(lambda _: answer),
    )
    try:
        return await HttpRegister(register).check("shop", "secret")
    finally:
        await register.aclose()


async def test_the_register_is_understood(service_keys: ServiceKeys) -> None:
    found = await over_http(service_keys, httpx.Response(200, json=GOOD))
    assert found == Client("shop", "demo", frozenset({"points:read"}), "third_party", None, ("10.0.0.0/8",))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"code": "invalid_client"}),
        # Longer than any secret that the register gives out: wrong, and no sign of its being away.
        httpx.Response(400, json={"code": "malformed_request"}),
    ],
)
async def test_a_secret_that_the_register_does_not_know_is_wrong(
    service_keys: ServiceKeys, answer: httpx.Response
) -> None:
    assert await over_http(service_keys, answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"code": "not_found"}),
        httpx.Response(404, text="no such host"),
        httpx.Response(401, json={"code": "invalid_credentials"}),
        httpx.Response(403, json={}),
        httpx.Response(429, json={}),
        httpx.Response(500, json={}),
        httpx.Response(302, headers={"Location": "/login"}, json={}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"client_id": "shop"}),
        httpx.Response(200, json={**GOOD, "scopes": None}),
        httpx.Response(200, json={**GOOD, "ip_allow_list": ["everywhere"]}),
    ],
    ids=lambda answer: f"{answer.status_code}-{answer.text[:20]}",
)
async def test_what_makes_no_sense_is_no_word_on_the_secret(service_keys: ServiceKeys, answer: httpx.Response) -> None:
    with pytest.raises(Unavailable):
        await over_http(service_keys, answer)
