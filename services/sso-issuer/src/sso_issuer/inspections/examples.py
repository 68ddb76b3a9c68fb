"""Tokens on which a vendor tries its verification: good ones, and bad ones of every kind.

All are signed for the vendor's own audience, or for one that nobody has. Their user does not exist, and no issuance is
written for them, so that none can be redeemed. Keys that sign forgeries are made here and forgotten.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from shared.jwt import SigningKey

from sso_issuer import signer
from sso_issuer.inspections.domain import EXAMPLE_PREFIX
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.material import generate, load_private
from sso_issuer.redirects.domain import BACKDATED_SECONDS, Profile, claims_of
from sso_issuer.vendors.domain import Agreement

Sign = Callable[[bytes], bytes]

#: Long enough to try all of them by hand.
_LIFETIME_SECONDS: Final = 300
_HOUR: Final = 3600
#: Never one of ours: with a real tenant's name, the token would be good for that tenant's vendors.
_NOBODYS_ISSUER: Final = "https://elsewhere.invalid/tenants/example"
_POINTS: Final = 500


@dataclass(frozen=True, slots=True)
class Example:
    """A token, and whether a verifier has to take it."""

    name: str
    token: str
    is_good: bool
    why: str


def examples_of(agreement: Agreement, key: SigningKey, issuer: str, now: datetime) -> list[Example]:
    """The examples for a vendor, under the key that signs its tokens now."""
    return [*_good(agreement, key, issuer, now), *_bad(agreement, key, issuer, now)]


def _good(agreement: Agreement, key: SigningKey, issuer: str, now: datetime) -> list[Example]:
    header, claims = _header(key), _claims(agreement, issuer, now)
    fresh = int(now.timestamp())
    more = claims | {"level": "gold", "iat": fresh, "exp": fresh + _LIFETIME_SECONDS}
    return [
        Example("good", _assemble(header, claims, key.key.sign), True, "Everything is as agreed."),
        Example(
            "more_claims", _assemble(header, more, key.key.sign), True, "Claims may be added; ignore unknown ones."
        ),
    ]


def _bad(agreement: Agreement, key: SigningKey, issuer: str, now: datetime) -> list[Example]:
    header, sign = _header(key), key.key.sign
    moment = int(now.timestamp())

    def claims(**changed: Any) -> dict[str, Any]:
        made = _claims(agreement, issuer, now) | changed
        return {name: value for name, value in made.items() if value is not None}

    def bad(name: str, token: str, why: str) -> Example:
        return Example(name, token, False, why)

    good = _assemble(header, claims(), sign)
    richer = _assemble(header, claims(points=_POINTS + 1_000_000), sign)
    (stranger, stranger_jwk), unknown = _stranger(key), secrets.token_urlsafe(16)
    past = {"iat": moment - _HOUR, "exp": moment - _HOUR + _LIFETIME_SECONDS}
    future = {"iat": moment + _HOUR, "nbf": moment + _HOUR, "exp": moment + _HOUR + _LIFETIME_SECONDS}
    elsewhere = f"{EXAMPLE_PREFIX}{secrets.token_hex(8)}"
    examples = [
        bad("expired", _assemble(header, claims(**past), sign), "exp lies an hour back."),
        bad("not_yet_valid", _assemble(header, claims(**future), sign), "iat and nbf lie an hour ahead."),
        bad("wrong_audience", _assemble(header, claims(aud=elsewhere), sign), "aud is another vendor's."),
        bad("wrong_issuer", _assemble(header, claims(iss=_NOBODYS_ISSUER), sign), "iss is another issuer."),
        bad("wrong_type", _assemble(header | {"typ": "example+jwt"}, claims(), sign), "typ is not JWT."),
        bad("no_audience", _assemble(header, claims(aud=None), sign), "aud is missing."),
        bad("no_expiry", _assemble(header, claims(exp=None), sign), "exp is missing: it would be good for ever."),
        bad("expiry_as_text", _assemble(header, claims(exp="tomorrow"), sign), "exp is not a number."),
        bad(
            "critical_extension", _assemble(header | {"crit": ["x"], "x": 1}, claims(), sign), "crit is not understood."
        ),
        bad("changed_claims", _exchange(good, richer), "The claims were changed after signing."),
        bad("cut_off", good.rpartition(".")[0], "The signature is missing."),
        bad("unsigned", _assemble(header | {"alg": "none"}, claims(), lambda _: b""), "alg is none."),
        bad("other_key", _assemble(header, claims(), stranger), "Another key signed it under our kid."),
        bad("unknown_key", _assemble(header | {"kid": unknown}, claims(), stranger), "kid is in no key set of ours."),
        bad("key_in_header", _assemble(header | {"jwk": stranger_jwk}, claims(), stranger), "It brings its own key."),
    ]
    public = _public_pem(key)
    if public is not None:
        forged = _assemble(header | {"alg": "HS256"}, claims(), _hmac(public))
        examples.append(bad("public_key_as_secret", forged, "HS256 with our public key as the secret."))
    return examples


def _claims(agreement: Agreement, issuer: str, now: datetime) -> dict[str, Any]:
    issued_at = int(now.timestamp()) - BACKDATED_SECONDS
    nobody = f"{EXAMPLE_PREFIX}{secrets.token_urlsafe(16)}"
    return claims_of(
        Profile(user_id=nobody, firstname="Erika", lastname="Example", email="erika@example.com"),
        _POINTS,
        spelling=agreement.claim_spelling,
        issuer=issuer,
        audience=agreement.audience,
        jti=f"{EXAMPLE_PREFIX}{secrets.token_urlsafe(16)}",
        issued_at=issued_at,
        expires_at=issued_at + _LIFETIME_SECONDS,
    )


def _header(key: SigningKey) -> dict[str, Any]:
    return {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}


def _stranger(key: SigningKey) -> tuple[Sign, Mapping[str, Any]]:
    """A fresh key of the same algorithm, and the JWK that a forger could send along."""
    if key.algorithm == "HS256":
        secret = secrets.token_bytes(32)
        return _hmac(secret), {"kty": "oct", "k": _encode(secret)}
    pair = generate(Algorithm(key.algorithm))
    fresh = signer.of_private_key(pair.kid, pair.algorithm, load_private(pair.private_der))
    return fresh.key.sign, pair.public_jwk


def _public_pem(key: SigningKey) -> bytes | None:
    """Our public key as a careless verifier would load it; None for a shared secret."""
    if key.algorithm == "HS256":
        return None
    private = key.key.prepared_key
    public = private.public_key() if not isinstance(private, ec.EllipticCurvePublicKey) else private
    pem: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


def _assemble(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Sign) -> str:
    text = f"{_encode(orjson.dumps(header))}.{_encode(orjson.dumps(claims))}"
    return f"{text}.{_encode(sign(text.encode()))}"


def _exchange(token: str, other: str) -> str:
    """`token` with the claims of `other`."""
    header, _, signature = token.split(".")
    return f"{header}.{other.split('.')[1]}.{signature}"


def _hmac(secret: bytes) -> Sign:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
