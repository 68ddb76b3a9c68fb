"""Keys of all kinds, and tokens put together by hand: what no library would sign."""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Sign = Callable[[bytes], bytes]
EcKey = ec.EllipticCurvePrivateKey
RsaKey = rsa.RSAPrivateKey


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_number(number: int, length: int | None = None) -> str:
    return encode(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


@functools.cache
def rsa_key(bits: int = 2048, _which: int = 0) -> RsaKey:
    return rsa.generate_private_key(65537, bits)


def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> EcKey:
    return ec.generate_private_key(curve())


def public_jwk(key: EcKey | RsaKey, kid: str) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": kid, "alg": "RS256", "n": encode_number(numbers.n), "e": encode_number(numbers.e)}
    point, length = key.public_key().public_numbers(), (key.key_size + 7) // 8
    return {
        "kty": "EC",
        "crv": f"P-{key.key_size}",
        "kid": kid,
        "alg": "ES256",
        "x": encode_number(point.x, length),
        "y": encode_number(point.y, length),
    }


def private_jwk(key: EcKey | RsaKey, kid: str) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        secret = encode_number(key.private_numbers().d)
    else:
        secret = encode_number(key.private_numbers().private_value, (key.key_size + 7) // 8)
    return {**public_jwk(key, kid), "d": secret}


def written_forms(key: EcKey | RsaKey) -> dict[str, bytes]:
    """The public key as text or bytes, which a careless verifier takes for an HMAC secret."""
    public, spki = key.public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, spki)
    return {
        "PEM": pem,
        "PEM without its last line break": pem.strip(),
        "DER": public.public_bytes(serialization.Encoding.DER, spki),
        "JWK": json.dumps(public_jwk(key, "k")).encode(),
    }


def es256(key: EcKey) -> Sign:
    def sign(signed: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        length = (key.key_size + 7) // 8
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")

    return sign


def rs256(key: RsaKey) -> Sign:
    return lambda signed: key.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def hs256(secret: bytes) -> Sign:
    return lambda signed: hmac.digest(secret, signed, hashlib.sha256)


def unsigned(_signed: bytes) -> bytes:
    return b""


def forge(header: Mapping[str, Any] | bytes, claims: Any, sign: Sign) -> str:
    """A compact JWS of exactly these parts."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(encode(part) for part in parts)
    return f"{signed}.{encode(sign(signed.encode()))}"
