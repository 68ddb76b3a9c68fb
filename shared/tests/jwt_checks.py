"""Keys, good claims, and what `shared.jwt.verify` says of a token."""

from collections.abc import Mapping
from typing import Any

import pytest
from shared.jwt import KeySet, Rejected, VerificationKey, verify

from .forging import Sign, ec_key, es256, hs256, public_jwk, rs256, rsa_key

NOW = 1_800_000_000
ISSUER, AUDIENCE = "https://points.example/tenants/demo", "https://points.example"
SECRET = bytes(range(32))
EC, RSA = ec_key(), rsa_key()


KEYS = KeySet(
    [
        VerificationKey.from_jwk(public_jwk(EC, "ec")),
        VerificationKey.from_jwk(public_jwk(RSA, "rsa")),
        VerificationKey.from_secret("secret", SECRET),
    ]
)


SIGN: Mapping[str, Sign] = {"ec": es256(EC), "rsa": rs256(RSA), "secret": hs256(SECRET)}
ALGORITHM = {"ec": "ES256", "rsa": "RS256", "secret": "HS256"}
GOOD: Mapping[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 60, "userid": "ada"}


def header(kid: Any = "ec", **changed: Any) -> dict[str, Any]:
    """A good header; None takes a member away."""
    members = {"alg": ALGORITHM.get(str(kid), "ES256"), "typ": "JWT", "kid": kid} | changed
    return {name: value for name, value in members.items() if value is not None}


def claims(**changed: Any) -> dict[str, Any]:
    return {name: value for name, value in {**GOOD, **changed}.items() if value is not None}


def check(token: str, keys: KeySet = KEYS, **changed: Any) -> dict[str, Any]:
    return verify(token, keys, **{"typ": "JWT", "issuer": ISSUER, "audience": AUDIENCE, "now": NOW, **changed})


def reason(token: str, keys: KeySet = KEYS, **changed: Any) -> str:
    """Why a token is rejected; fails when it is taken."""
    with pytest.raises(Rejected) as rejected:
        check(token, keys, **changed)
    return rejected.value.reason
