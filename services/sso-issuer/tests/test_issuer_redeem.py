"""Taking a token back: once, by its own vendor, and never one that was not issued here."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from platform_testing.issuer_world import (
    World,
    assemble,
    claims_of,
    decode,
    encode,
    header_of,
    hmac_sha256,
    rsa_public_key,
)
from shared.dependencies import provided
from sqlalchemy.ext.asyncio import AsyncEngine
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys
from sso_issuer.tables import issuances, redemptions
from starlette.responses import Response

Sign = Callable[[bytes], bytes]


async def _count(world: World) -> int:
    async with world.database.connect() as connection:
        query = sa.select(sa.func.count()).select_from(redemptions).where(redemptions.c.tenant == world.tenant)
        return int((await connection.execute(query)).scalar_one())


async def _own_signature(world: World, algorithm: Algorithm = Algorithm.ES256) -> tuple[str, Sign]:
    """The issuer's own key, as only its insides have it: for tokens that it would never sign."""
    key = await provided(world.app, Keys).signing_key(world.tenant, algorithm)
    return key.kid, key.key.sign


async def _refusal(world: World, token: str, vendor: dict[str, str] | None = None) -> str:
    answer = await world.redeem(token, vendor)
    assert answer.status_code == 400, answer.text
    assert await _count(world) == 0
    code: str = answer.json()["code"]
    return code


async def test_the_first_to_bring_a_token_is_told_what_is_in_it_and_how_many_points_there_are_now(
    world: World,
) -> None:
    await world.put_vendor()
    issued = await world.redirect()
    world.ledger.points[world.tenant, world.user_id] = 123
    answer = await world.redeem(issued["token"])
    assert answer.status_code == 200
    assert answer.json() == claims_of(issued["token"]) | {"points_now": 123}
    assert answer.json()["points"] == 500
    assert answer.headers["cache-control"] == "no-store"


async def test_again_is_refused(world: World) -> None:
    await world.put_vendor()
    token, vendor = (await world.redirect())["token"], world.vendor_client("shop")
    assert (await world.redeem(token, vendor)).status_code == 200
    for _ in range(2):
        answer = await world.redeem(token, vendor)
        assert (answer.status_code, answer.json()["code"]) == (409, "token_already_redeemed")
        assert answer.json()["redeemed_at"].endswith("Z")
    listed = await world.client.get("/sso/v1/issuances", headers=world.admin)
    assert listed.json()["issuances"][0]["redeemed_at"] == answer.json()["redeemed_at"]


async def test_a_repetition_with_the_same_key_gets_the_first_answer(world: World) -> None:
    await world.put_vendor()
    token, vendor = (await world.redirect())["token"], world.vendor_client("shop")
    first = await world.redeem(token, vendor, **{"Idempotency-Key": "r-1"})
    again = await world.redeem(token, vendor, **{"Idempotency-Key": "r-1"})
    assert first.status_code == again.status_code == 200
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await world.redeem(token, vendor, **{"Idempotency-Key": "r-2"})
    assert other.status_code == 409


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "HS256"])
async def test_of_fifty_at_once_one_is_told(world: World, algorithm: str) -> None:
    await world.put_vendor(algorithm=algorithm)
    if algorithm == "HS256":
        await world.add_secret()
    token, vendor = (await world.redirect())["token"], world.vendor_client("shop")
    answers = await asyncio.gather(*(world.redeem(token, vendor) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    assert await _count(world) == 1


async def test_a_token_is_not_used_up_while_the_ledger_is_away(world: World) -> None:
    await world.put_vendor()
    token, vendor = (await world.redirect())["token"], world.vendor_client("shop")
    world.ledger.answer = lambda: Response("down", 503)
    for key in ({}, {"Idempotency-Key": "r-3"}):
        answer = await world.redeem(token, vendor, **key)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
    world.ledger.answer = None
    assert (await world.redeem(token, vendor, **{"Idempotency-Key": "r-3"})).status_code == 200


async def test_an_expired_token_is_said_to_be_expired(world: World) -> None:
    await world.put_vendor()
    kid, sign = await _own_signature(world)
    claims = claims_of((await world.redirect())["token"])
    late = claims | {"iat": claims["iat"] - 61, "exp": claims["exp"] - 61}
    token = assemble({"alg": "ES256", "kid": kid, "typ": "JWT"}, late, sign)
    assert await _refusal(world, token) == "token_expired"


async def test_only_the_vendor_the_token_is_for_may_bring_it(world: World) -> None:
    await world.put_vendor("shop")
    await world.put_vendor("other")
    token = (await world.redirect("shop"))["token"]
    assert await _refusal(world, token, world.vendor_client("other")) == "wrong_audience"
    assert (await world.redeem(token)).status_code == 200


async def test_another_tenants_vendor_of_the_same_name_may_not(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    stranger = world.register.add("t-stranger-4", "sso:admin")
    body = {"name": "Shop", "redirect_url": "https://shop.example/"}
    await world.client.put("/sso/v1/vendors/shop", json=body, headers=stranger)
    vendor = world.vendor_client("shop", tenant="t-stranger-4")
    assert await _refusal(world, token, vendor) == "invalid_signature"
    nobody = world.vendor_client("shop", tenant="t-stranger-5")
    answer = await world.redeem(token, nobody)
    assert (answer.status_code, answer.json()["code"]) == (404, "vendor_not_found")


async def test_a_client_without_the_scope_may_not(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    answer = await world.redeem(token, world.register.add(world.tenant, "points:read", vendor_id="shop"))
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_a_client_without_a_vendor_id_is_a_vendor_by_its_own_name(world: World) -> None:
    await world.put_vendor("shop-client")
    token = (await world.redirect("shop-client"))["token"]
    vendor = world.register.add(world.tenant, "points:redeem", client_id="shop-client")
    assert (await world.redeem(token, vendor)).status_code == 200


# Forgeries. Each starts from a token that is good in every other respect.


@pytest.mark.parametrize("encoding", ["DER", "PEM", "PKCS1"])
async def test_an_rsa_public_key_is_no_hmac_secret(world: World, encoding: str) -> None:
    await world.put_vendor(algorithm="RS256")
    issued = await world.redirect()
    kid = header_of(issued["token"])["kid"]
    public = rsa_public_key(next(key for key in await world.jwks() if key["kid"] == kid))
    forms = {
        "DER": (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        "PEM": (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "PKCS1": (serialization.Encoding.DER, serialization.PublicFormat.PKCS1),
    }
    secret = public.public_bytes(*forms[encoding])
    header = {"alg": "HS256", "kid": kid, "typ": "JWT"}
    token = assemble(header, claims_of(issued["token"]), hmac_sha256(secret))
    assert await _refusal(world, token) == "invalid_signature"


async def test_a_vendors_secret_counts_only_for_a_vendor_of_hs256(world: World) -> None:
    await world.put_vendor(algorithm="ES256")
    secret = await world.add_secret()
    claims = claims_of((await world.redirect())["token"])
    for kid in (secret["kid"], (await world.jwks())[0]["kid"]):
        header = {"alg": "HS256", "kid": kid, "typ": "JWT"}
        token = assemble(header, claims, hmac_sha256(secret["secret"].encode()))
        assert await _refusal(world, token) == "invalid_signature"


async def test_a_vendors_secret_counts_for_that_vendor_only(world: World) -> None:
    await world.put_vendor("shop", algorithm="HS256")
    await world.put_vendor("other", algorithm="HS256")
    await world.add_secret("shop")
    secret = await world.add_secret("other")
    claims = claims_of((await world.redirect("shop"))["token"])
    token = assemble(
        {"alg": "HS256", "kid": secret["kid"], "typ": "JWT"}, claims, hmac_sha256(secret["secret"].encode())
    )
    assert await _refusal(world, token) == "invalid_signature"


async def test_a_vendor_cannot_issue_tokens_to_itself(world: World) -> None:
    """It shares the secret and can sign what it likes; what counts is what was issued here."""
    await world.put_vendor(algorithm="HS256")
    secret = await world.add_secret()
    claims = claims_of((await world.redirect())["token"])
    header = {"alg": "HS256", "kid": secret["kid"], "typ": "JWT"}
    for altered in (
        {"jti": "made-up"},
        {"userid": "user-2"},
        {"points": 1_000_000},
        {"exp": claims["exp"] + 1000},
        {"iat": claims["iat"] - 1},
        {"email": "mallory@example.org"},
        {"firstname": "Mallory"},
        {"email_verified": "yes"},
        {"role": "gold"},
    ):
        token = assemble(header, claims | altered, hmac_sha256(secret["secret"].encode()))
        assert await _refusal(world, token) == "token_not_issued"


async def test_a_signature_that_anybody_can_turn_into_another_good_one_does_not_make_a_second_token(
    world: World,
) -> None:
    """ECDSA: (r, s) and (r, n - s) verify alike."""
    await world.put_vendor()
    token = (await world.redirect())["token"]
    text, _, signature = token.rpartition(".")
    r, s = decode(signature)[:32], int.from_bytes(decode(signature)[32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    assert await _refusal(world, f"{text}.{encode(r + (order - s).to_bytes(32, 'big'))}") == "token_not_issued"
    assert (await world.redeem(token)).status_code == 200


async def test_what_is_agreed_anew_counts_for_new_tokens_alone(world: World) -> None:
    await world.put_vendor(algorithm="HS256", audience="first")
    await world.add_secret()
    tokens = [(await world.redirect())["token"]]
    await world.put_vendor(algorithm="ES256", audience="second")
    tokens.append((await world.redirect())["token"])
    await world.put_vendor(algorithm="RS256", audience="third", claim_spelling="camel")
    for token in tokens:
        assert (await world.redeem(token)).status_code == 200


async def test_an_audience_that_another_vendor_takes_over_does_not_bring_its_tokens_along(world: World) -> None:
    await world.put_vendor(audience="first")
    token = (await world.redirect())["token"]
    await world.put_vendor(audience="second")
    await world.put_vendor("other", audience="first")
    assert await _refusal(world, token, world.vendor_client("other")) == "token_not_issued"
    assert (await world.redeem(token)).status_code == 200


async def test_a_token_from_before_digests_were_kept_can_still_be_redeemed(world: World, owner: AsyncEngine) -> None:
    await world.put_vendor()
    issued = await world.redirect()
    former = {"token_digest": None, "audience": None}
    async with owner.begin() as connection:
        await connection.execute(sa.update(issuances).where(issuances.c.jti == issued["jti"]).values(former))
    assert (await world.redeem(issued["token"])).status_code == 200


@pytest.mark.parametrize("secret", [b"", b"\0", b"secret"])
async def test_no_short_secret_passes(world: World, secret: bytes) -> None:
    await world.put_vendor(algorithm="HS256")
    kid = (await world.add_secret())["kid"]
    claims = claims_of((await world.redirect())["token"])
    token = assemble({"alg": "HS256", "kid": kid, "typ": "JWT"}, claims, hmac_sha256(secret))
    assert await _refusal(world, token) == "invalid_signature"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "ES384", "RS256", "HS256", 7, None])
async def test_the_key_chooses_the_algorithm(world: World, algorithm: Any) -> None:
    await world.put_vendor()
    issued = await world.redirect()
    _, sign = await _own_signature(world)
    header = header_of(issued["token"]) | {"alg": algorithm}
    for signature in (sign, lambda _: b""):
        assert await _refusal(world, assemble(header, claims_of(issued["token"]), signature)) == "invalid_signature"


@pytest.mark.parametrize("claim", ["aud", "exp", "iat", "iss", "jti"])
async def test_a_claim_that_is_missing_is_missed(world: World, claim: str) -> None:
    await world.put_vendor()
    kid, sign = await _own_signature(world)
    claims = claims_of((await world.redirect())["token"])
    del claims[claim]
    code = await _refusal(world, assemble({"alg": "ES256", "kid": kid, "typ": "JWT"}, claims, sign))
    assert code == {"aud": "wrong_audience", "iss": "wrong_issuer"}.get(claim, "malformed_token")


@pytest.mark.parametrize(
    ("altered", "code"),
    [
        ({"aud": "other"}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"iss": "https://points.example/tenants/other"}, "wrong_issuer"),
        ({"iss": "https://points.example"}, "wrong_issuer"),
        ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3660}, "token_not_yet_valid"),
        ({"nbf": int(time.time()) + 3600}, "token_not_yet_valid"),
        ({"exp": "tomorrow"}, "malformed_token"),
        ({"exp": True}, "malformed_token"),
        ({"iat": 1.5}, "malformed_token"),
        ({"jti": 7}, "malformed_token"),
        ({"jti": "with \0 in it"}, "malformed_token"),
    ],
)
async def test_claims_that_do_not_fit_are_refused(world: World, altered: dict[str, Any], code: str) -> None:
    await world.put_vendor()
    kid, sign = await _own_signature(world)
    claims = claims_of((await world.redirect())["token"]) | altered
    assert await _refusal(world, assemble({"alg": "ES256", "kid": kid, "typ": "JWT"}, claims, sign)) == code


@pytest.mark.parametrize(
    ("altered", "code"),
    [
        ({"crit": ["exp"]}, "malformed_token"),
        ({"crit": []}, "malformed_token"),
        ({"kid": "unknown"}, "invalid_signature"),
        ({"kid": None}, "invalid_signature"),
        ({"kid": 7}, "invalid_signature"),
        ({"kid": "a\0b"}, "invalid_signature"),
        ({"typ": "at+jwt"}, "wrong_type"),
        ({"typ": "svc+jwt"}, "wrong_type"),
        ({"typ": None}, "wrong_type"),
    ],
)
async def test_headers_that_do_not_fit_are_refused(world: World, altered: dict[str, Any], code: str) -> None:
    await world.put_vendor()
    kid, sign = await _own_signature(world)
    header = {"alg": "ES256", "kid": kid, "typ": "JWT"} | altered
    assert await _refusal(world, assemble(header, claims_of((await world.redirect())["token"]), sign)) == code


async def test_another_tenants_key_does_not_count(world: World) -> None:
    await world.put_vendor()
    claims = claims_of((await world.redirect())["token"])
    foreign = await provided(world.app, Keys).signing_key("t-stranger-6", Algorithm.ES256)
    token = assemble({"alg": "ES256", "kid": foreign.kid, "typ": "JWT"}, claims, foreign.key.sign)
    assert await _refusal(world, token) == "invalid_signature"


async def test_a_key_that_does_not_sign_yet_does_not_count(world: World) -> None:
    await world.put_vendor()
    claims = claims_of((await world.redirect())["token"])
    rotated = await world.client.post("/sso/v1/keys/rotate", json={}, headers=world.admin)
    _, sign = await _own_signature(world)
    header = {"alg": "ES256", "kid": rotated.json()["keys"][0]["kid"], "typ": "JWT"}
    assert await _refusal(world, assemble(header, claims, sign)) == "invalid_signature"


async def test_a_changed_letter_is_noticed(world: World) -> None:
    await world.put_vendor()
    token = (await world.redirect())["token"]
    header, claims, signature = token.split(".")
    richer = encode(decode(claims).replace(b'"points":500', b'"points":501'))
    assert await _refusal(world, f"{header}.{richer}.{signature}") == "invalid_signature"
    flipped = bytearray(decode(signature))
    flipped[10] ^= 1
    assert await _refusal(world, f"{header}.{claims}.{encode(bytes(flipped))}") == "invalid_signature"


@pytest.mark.parametrize(
    "token", ["x", "a.b", "a.b.c", "...", "eyJ.eyJ.eyJ", "é.é.é", "e30.e30.e30", "a.b.c.d", "bnVsbA.bnVsbA.x", " "]
)
async def test_what_is_no_token_is_said_to_be_none(world: World, token: str) -> None:
    await world.put_vendor()
    assert await _refusal(world, token) in {"malformed_token", "invalid_signature"}


async def test_a_token_whose_audit_was_never_written_does_not_count(world: World, owner: AsyncEngine) -> None:
    await world.put_vendor()
    issued = await world.redirect()
    async with owner.begin() as connection:
        await connection.execute(sa.delete(issuances).where(issuances.c.jti == issued["jti"]))
    assert await _refusal(world, issued["token"]) == "token_not_issued"
