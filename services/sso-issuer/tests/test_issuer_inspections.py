"""Help for those who verify: all that is wrong with a token, and examples that a careful verifier tells apart."""

import time
from typing import Any

import pytest
import sqlalchemy as sa
from platform_testing.issuer_world import World, assemble, body_of, claims_of, decode, encode, header_of, hmac_sha256
from shared.dependencies import provided
from shared.jwt import KeySet, Rejected, VerificationKey, verify
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys
from sso_issuer.tables import issuances, redemptions


async def _inspect(world: World, token: str, caller: dict[str, str] | None = None) -> dict[str, Any]:
    headers = caller or world.vendor_client("shop")
    answer = await world.client.post("/sso/v1/inspect", json={"token": token}, headers=headers)
    assert answer.headers["cache-control"] == "no-store"
    body = body_of(answer, 200)
    assert (body["verdict"] == "good") is (body["findings"] == [])
    assert all(finding["message"] and finding["fix"] for finding in body["findings"])
    return body


def _codes(body: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in body["findings"]}


async def _resigned(world: World, token: str, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """The token with other claims, under the issuer's own key."""
    key = await provided(world.app, Keys).signing_key(world.tenant, Algorithm.ES256)
    claims = {name: value for name, value in (claims_of(token) | changed).items() if value is not None}
    return assemble(header_of(token) | (header or {}), claims, key.key.sign)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "HS256"])
async def test_a_good_token_is_good_and_stays_so(world: World, algorithm: str) -> None:
    await world.put_vendor(algorithm=algorithm)
    if algorithm == "HS256":
        await world.add_secret()
    token = (await world.redirect())["token"]
    for caller in (world.vendor_client("shop"), world.admin):
        body = await _inspect(world, token, caller)
        assert (body["verdict"], body["claims"], body["header"]) == ("good", claims_of(token), header_of(token))
    async with world.database.connect() as connection:
        query = sa.select(sa.func.count()).select_from(redemptions).where(redemptions.c.tenant == world.tenant)
        assert await connection.scalar(query) == 0
    assert (await world.redeem(token)).status_code == 200
    assert _codes(await _inspect(world, token)) == {"already_redeemed"}


async def test_all_that_is_wrong_is_named_and_not_only_the_first(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    now = int(time.time())
    wrong = {"iss": "https://other.example", "aud": "other", "iat": now - 100, "exp": now - 40, "nbf": now + 90}
    bad = await _resigned(world, token, {"typ": "at+jwt"}, **wrong)
    header, claims, signature = bad.split(".")
    body = await _inspect(world, f"{header}.{claims}.{encode(decode(signature)[::-1])}")
    assert _codes(body) == {
        *("invalid_signature", "wrong_type", "wrong_issuer", "wrong_audience", "expired", "not_yet_valid")
    }
    by = {finding["code"]: finding["by_seconds"] for finding in body["findings"]}
    assert by["expired"] in range(40, 46)
    assert by["not_yet_valid"] in range(84, 91)
    assert body["claims"] is None


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30", "eyJhbGciOiJub25lIn0.W10.", "é.é.é", "x" * 20_000])
async def test_what_is_no_token_is_said_to_be_none(world: World, token: str) -> None:
    await world.put_vendor()
    for caller in (world.vendor_client("shop"), world.admin):
        body = await _inspect(world, token, caller)
        assert _codes(body) == {"malformed_token"}
        assert (body["header"], body["claims"]) == (None, None)


@pytest.mark.parametrize(
    ("header", "changed", "codes"),
    [
        ({"kid": "nobodys"}, {}, {"unknown_key"}),
        ({"kid": 7}, {}, {"unknown_key"}),
        ({"alg": "RS256"}, {}, {"wrong_algorithm"}),
        ({"alg": None}, {}, {"wrong_algorithm"}),
        ({"crit": ["x"]}, {}, {"malformed_token", "token_not_issued"}),
        ({}, {"exp": None}, {"malformed_token", "token_not_issued"}),
        ({}, {"jti": 7}, {"malformed_token", "token_not_issued"}),
        ({}, {"points": 10**6}, {"token_not_issued"}),
        ({}, {"aud": ["other"]}, {"wrong_audience"}),
    ],
)
async def test_each_fault_has_its_name(
    world: World, header: dict[str, Any], changed: dict[str, Any], codes: set[str]
) -> None:
    await world.put_vendor()
    token = await _resigned(world, (await world.redirect())["token"], header, **changed)
    assert codes <= _codes(await _inspect(world, token)) <= codes | {"token_not_issued"}


async def test_a_token_of_another_vendor_shows_its_claims_to_the_platform_alone(world: World) -> None:
    await world.put_vendor("shop")
    await world.put_vendor("other")
    token = (await world.redirect("other"))["token"]
    body = await _inspect(world, token, world.vendor_client("shop"))
    assert (_codes(body), body["claims"]) == ({"wrong_audience"}, None)
    assert (await _inspect(world, token, world.admin))["claims"] == claims_of(token)
    stranger = world.register.add("t-stranger-i", "sso:admin")
    body = await _inspect(world, token, stranger)
    assert body["claims"] is None
    assert {"unknown_key", "wrong_issuer"} <= _codes(body)


async def test_a_secret_that_a_vendor_shares_makes_no_token_of_ours(world: World) -> None:
    await world.put_vendor(algorithm="HS256")
    secret = await world.add_secret()
    claims = claims_of((await world.redirect())["token"]) | {"email": "mallory@example.org"}
    header = {"alg": "HS256", "kid": secret["kid"], "typ": "JWT"}
    forged = assemble(header, claims, hmac_sha256(secret["secret"].encode()))
    assert _codes(await _inspect(world, forged)) == {"token_not_issued"}


async def test_a_retired_key_is_called_so(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    wish = {"immediately": True, "revoke_former": True}
    await world.client.post("/sso/v1/keys/rotate", json=wish, headers=world.admin)
    assert _codes(await _inspect(world, token)) == {"key_retired"}
    await world.put_vendor("hmac", algorithm="HS256")
    await world.add_secret("hmac")
    signed = (await world.redirect("hmac"))["token"]
    await world.add_secret("hmac", overlap_seconds=0)
    assert _codes(await _inspect(world, signed, world.vendor_client("hmac"))) == {"key_retired"}


async def test_inspections_are_for_vendors_and_administrators(world: World) -> None:
    await world.put_vendor()
    for headers, status in ((world.platform, 403), ({}, 401), (world.vendor_client("nobody"), 404)):
        answer = await world.client.post("/sso/v1/inspect", json={"token": "x"}, headers=headers)
        assert answer.status_code == status
        answer = await world.client.get("/sso/v1/vendors/shop/examples", headers=headers)
        assert answer.status_code == status
    answer = await world.client.get("/sso/v1/vendors/nobody/examples", headers=world.admin)
    assert (answer.status_code, answer.json()["code"]) == (404, "vendor_not_found")


def _is_taken(token: str, keys: KeySet, issuer: str, audience: str) -> bool:
    """What a careful verifier does."""
    try:
        verify(token, keys, typ="JWT", issuer=issuer, audience=audience)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "HS256"])
async def test_a_careful_verifier_tells_the_examples_apart(world: World, algorithm: str) -> None:
    await world.put_vendor(algorithm=algorithm, claim_spelling="camel")
    if algorithm == "HS256":
        secret = await world.add_secret()
        keys = KeySet([VerificationKey.from_secret(secret["kid"], secret["secret"].encode())])
    for caller in (world.vendor_client("shop"), world.admin):
        answer = await world.client.get("/sso/v1/vendors/shop/examples", headers=caller)
        examples = body_of(answer, 200)["examples"]
        if algorithm != "HS256":
            keys = KeySet.from_jwks({"keys": await world.jwks()})
        names = [example["name"] for example in examples]
        assert len(set(names)) == len(names) >= 15
        for example in examples:
            taken = _is_taken(example["token"], keys, world.issuer, "shop")
            assert taken is (example["expect"] == "accept"), example
            assert example["why"]
    assert {example["expect"] for example in examples} == {"accept", "refuse"}


@pytest.mark.parametrize("algorithm", ["ES256", "HS256"])
async def test_no_example_can_be_redeemed_and_each_is_inspected_as_it_says(world: World, algorithm: str) -> None:
    await world.put_vendor(algorithm=algorithm)
    if algorithm == "HS256":
        await world.add_secret()
    vendor = world.vendor_client("shop")
    answer = await world.client.get("/sso/v1/vendors/shop/examples", headers=vendor)
    for example in answer.json()["examples"]:
        assert (await world.redeem(example["token"], vendor)).status_code == 400, example["name"]
        verdict = (await _inspect(world, example["token"], vendor))["verdict"]
        assert (verdict == "good") is (example["expect"] == "accept"), example["name"]
    async with world.database.connect() as connection:
        query = sa.select(sa.func.count()).select_from(issuances).where(issuances.c.tenant == world.tenant)
        assert await connection.scalar(query) == 0


async def test_examples_are_fresh_each_time_and_for_nobody_else(world: World) -> None:
    await world.put_vendor()
    vendor = world.vendor_client("shop")
    first, second = [
        {
            one["token"]
            for one in (await world.client.get("/sso/v1/vendors/shop/examples", headers=vendor)).json()["examples"]
        }
        for _ in range(2)
    ]
    assert not first & second
    for token in first:
        if token.count(".") != 2:
            continue
        claims = claims_of(token)
        # Under our own key there is nothing for another vendor, tenant or service that exists.
        assert claims.get("aud") in {"shop", None} or claims["aud"].startswith("example-")
        assert claims["iss"] == world.issuer or ".invalid/" in claims["iss"]
        assert header_of(token)["typ"] in {"JWT", "example+jwt"}
        assert claims["userid"].startswith("example-")
