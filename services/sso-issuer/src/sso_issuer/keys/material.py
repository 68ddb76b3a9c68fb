"""Key pairs: generated, identified by thumbprint, and loaded from their sealed form."""

import base64
import hashlib
import json
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sso_issuer.keys.domain import Algorithm

RSA_BITS = 2048

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Jwk = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A new pair: the public half as a JWK, the private half in PKCS #8 (DER)."""

    kid: str
    algorithm: Algorithm
    public_jwk: Jwk
    private_der: bytes


def generate(algorithm: Algorithm) -> KeyPair:
    """Makes a key pair; for RS256 that is 50–300 ms of work, so keep it off the event loop."""
    private: PrivateKey
    if algorithm is Algorithm.ES256:
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    members = _public_members(private)
    kid = thumbprint(members)
    return KeyPair(
        kid=kid,
        algorithm=algorithm,
        public_jwk={**members, "kid": kid, "use": "sig", "alg": algorithm.value},
        private_der=private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def load_private(der: bytes) -> PrivateKey:
    """The private key from its PKCS #8 form.

    Raises:
        ValueError: it is neither an elliptic-curve nor an RSA key.
    """
    key = serialization.load_der_private_key(der, password=None)
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise ValueError("neither an elliptic-curve nor an RSA key")
    return key


def thumbprint(members: Jwk) -> str:
    """The thumbprint of RFC 7638: a name that no two keys share, also over tenants."""
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return _base64url(hashlib.sha256(canonical).digest())


def _public_members(private: PrivateKey) -> Jwk:
    """Exactly the members that RFC 7638 hashes."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        point = private.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": _base64url(point.x.to_bytes(32, "big")),
            "y": _base64url(point.y.to_bytes(32, "big")),
        }
    numbers = private.public_key().public_numbers()
    return {"kty": "RSA", "n": _base64url(_unsigned(numbers.n)), "e": _base64url(_unsigned(numbers.e))}


def _unsigned(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
