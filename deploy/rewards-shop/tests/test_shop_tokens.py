"""Which tokens the shop believes, and above all which it does not."""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from rewards_shop.keys import IssuerKeys, read_key
from rewards_shop.rehearsal.platform import VENDOR, RehearsalPlatform, base64url
from rewards_shop.tokens import TokenRejected, TokenVerifier

Claims = dict[str, Any]


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def published(stage: RehearsalPlatform, rsa_key: rsa.RSAPrivateKey) -> dict[str, Any]:
    return {"keys": [*stage.public_keys()["keys"], rsa_jwk(rsa_key, "rsa-1")]}


@pytest.fixture
def verifier(stage: RehearsalPlatform, clock: Callable[[], float], published: dict[str, Any]) -> TokenVerifier:
    def show_keys(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=published)

    http = httpx.AsyncClient(transport=httpx.MockTransport(show_keys))
    keys = IssuerKeys(http, "http://issuer/jwks.json", clock=clock)
    return TokenVerifier(keys, issuer=stage.issuer, audience=VENDOR, clock=clock)


@pytest.fixture
def claims(stage: RehearsalPlatform) -> Claims:
    return stage.claims("ada")


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    n, e = base64url(numbers.n.to_bytes(size)), base64url(numbers.e.to_bytes(3))
    return {"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": n, "e": e}


def joined(header: object, claims: object) -> str:
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))


def rs256(key: rsa.RSAPrivateKey, claims: Claims, kid: str = "rsa-1", alg: str = "RS256") -> str:
    signed = joined({"alg": alg, "kid": kid, "typ": "JWT"}, claims)
    return f"{signed}.{base64url(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


async def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    return caught.value.code


async def test_a_token_of_the_issuer_names_the_visitor(verifier: TokenVerifier, stage: RehearsalPlatform) -> None:
    visitor = await verifier.verify(stage.token(stage.claims("ada")))
    assert (visitor.user_id, visitor.firstname, visitor.email, visitor.points) == (
        "ada",
        "Ada",
        "ada@example.com",
        1250,
    )


async def test_the_camel_spelling_of_claims_is_read_as_well(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims
) -> None:
    for lower, camel in (("userid", "userId"), ("firstname", "firstName"), ("lastname", "lastName")):
        claims[camel] = claims.pop(lower)
    visitor = await verifier.verify(stage.token(claims))
    assert (visitor.user_id, visitor.firstname, visitor.lastname) == ("ada", "Ada", "Lovelace")


async def test_who_has_one_name_only_may_come_in(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims
) -> None:
    visitor = await verifier.verify(stage.token(claims | {"firstname": ""}))
    assert visitor.called == "Lovelace"


async def test_rs256_is_believed_under_an_rsa_key(
    verifier: TokenVerifier, rsa_key: rsa.RSAPrivateKey, claims: Claims
) -> None:
    assert (await verifier.verify(rs256(rsa_key, claims))).user_id == "ada"


async def test_an_audience_list_that_names_the_shop_is_believed(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims
) -> None:
    assert await verifier.verify(stage.token(claims | {"aud": ["another", VENDOR]}))


@pytest.mark.parametrize("missing", ["iss", "aud", "iat", "exp", "jti", "userid", "firstname", "email", "points"])
async def test_a_token_without_a_claim_is_refused(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims, missing: str
) -> None:
    del claims[missing]
    expected = {"iss": "wrong_issuer", "aud": "wrong_audience"}.get(missing, "malformed_token")
    assert await refusal(verifier, stage.token(claims)) == expected


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": "http://localhost:8611/tenants/other"}, "wrong_issuer"),
        ({"aud": "another-vendor"}, "wrong_audience"),
        ({"aud": ["another-vendor"]}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"iat": 1_800_000_000 - 70, "exp": 1_800_000_000 - 10}, "token_expired"),
        ({"iat": 1_800_000_030, "exp": 1_800_000_060}, "token_not_yet_valid"),
        ({"nbf": 1_800_000_030}, "token_not_yet_valid"),
        ({"exp": 1_800_000_000 + 86_400}, "malformed_token"),
        ({"iat": 1_800_000_004, "exp": 1_800_000_003}, "malformed_token"),
        ({"exp": "1800000060"}, "malformed_token"),
        ({"exp": True}, "malformed_token"),
        ({"exp": float("inf")}, "malformed_token"),
        ({"exp": float("nan")}, "malformed_token"),
        ({"points": -1}, "malformed_token"),
        ({"points": "1250"}, "malformed_token"),
        ({"points": True}, "malformed_token"),
        ({"userid": ""}, "malformed_token"),
        ({"jti": ""}, "malformed_token"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims, change: Claims, code: str
) -> None:
    assert await refusal(verifier, stage.token(claims | change)) == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"alg": "ES256", "kid": "rehearsal-1"}, "wrong_type"),
        ({"alg": "ES256", "kid": "rehearsal-1", "typ": "at+jwt"}, "wrong_type"),
        ({"alg": "ES256", "kid": "rehearsal-1", "typ": "JWT", "crit": ["exp"]}, "malformed_token"),
        ({"alg": "ES256", "kid": "rehearsal-2", "typ": "JWT"}, "invalid_signature"),
        ({"alg": "ES256", "kid": "REHEARSAL-1", "typ": "JWT"}, "invalid_signature"),
        ({"alg": "ES256", "typ": "JWT"}, "invalid_signature"),
        ({"alg": "ES256", "kid": 1, "typ": "JWT"}, "invalid_signature"),
        ({"alg": "RS256", "kid": "rehearsal-1", "typ": "JWT"}, "invalid_signature"),
        ({"alg": "ES256", "kid": "rsa-1", "typ": "JWT"}, "invalid_signature"),
    ],
)
async def test_a_token_with_a_wrong_header_is_refused(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims, header: Claims, code: str
) -> None:
    assert await refusal(verifier, stage.token(claims, header)) == code


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "", None])
async def test_an_unsigned_token_is_refused(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims, alg: str | None
) -> None:
    signed = joined({"alg": alg, "kid": stage.kid, "typ": "JWT"}, claims)
    assert await refusal(verifier, f"{signed}.") == "malformed_token"
    assert await refusal(verifier, f"{signed}.AAAA") == "invalid_signature"


@pytest.mark.parametrize("form", ["pem", "der", "jwk", "empty"])
async def test_hs256_under_a_public_key_is_refused(
    verifier: TokenVerifier, claims: Claims, rsa_key: rsa.RSAPrivateKey, form: str
) -> None:
    public = rsa_key.public_key()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, info),
        "der": public.public_bytes(serialization.Encoding.DER, info),
        "jwk": json.dumps(rsa_jwk(rsa_key, "rsa-1")).encode(),
        "empty": b"",
    }[form]
    signed = joined({"alg": "HS256", "kid": "rsa-1", "typ": "JWT"}, claims)
    forged = f"{signed}.{base64url(hmac.digest(secret, signed.encode(), 'sha256'))}"
    assert await refusal(verifier, forged) == "invalid_signature"


async def test_another_key_under_a_known_id_is_refused(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims
) -> None:
    stage.key = ec.generate_private_key(ec.SECP256R1())
    forged = stage.token(claims)
    stage.key = ec.generate_private_key(ec.SECP256R1())
    assert await refusal(verifier, forged) == "invalid_signature"


async def test_a_changed_claim_breaks_the_signature(
    verifier: TokenVerifier, stage: RehearsalPlatform, claims: Claims
) -> None:
    header, _, signature = stage.token(claims).split(".")
    richer = base64url(json.dumps(claims | {"points": 1_000_000}).encode())
    assert await refusal(verifier, f"{header}.{richer}.{signature}") == "invalid_signature"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        "e30.e30.e30!",
        "W10.e30.AAAA",
        "x" * 9000,
        "é.e30.e30",
        "e30.e30=.AAAA",
    ],
)
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    assert await refusal(verifier, token) in {"malformed_token", "wrong_type"}


async def test_a_deeply_nested_header_is_refused(verifier: TokenVerifier) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 3000).rstrip(b"=").decode()
    assert await refusal(verifier, f"{deep}.e30.AAAA") == "malformed_token"


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"crv": "P-384"},
        {"kty": "oct"},
        {"kid": ""},
        {"x": "AA"},
        {"y": 5},
    ],
)
def test_a_key_the_shop_would_not_believe_is_left_out(stage: RehearsalPlatform, change: dict[str, Any]) -> None:
    assert read_key(stage.public_keys()["keys"][0] | change) is None


def test_a_short_rsa_key_is_left_out() -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is the point
    assert read_key(rsa_jwk(short, "short")) is None
    assert read_key("not a key") is None
