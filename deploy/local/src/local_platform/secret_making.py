"""Makes secrets of every kind: from the operating system's random numbers, in the form that services read."""

import base64
import secrets

from cryptography.hazmat.primitives.asymmetric import ec

_PUBLIC = ("kty", "crv", "kid", "alg", "use", "x", "y")


def password() -> str:
    """43 characters that need no quoting in a URL."""
    return secrets.token_urlsafe(32)


def key() -> str:
    """Base64 of 32 bytes."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def private_jwk(name: str) -> dict[str, str]:
    """A service's private key (EC P-256), a JWK whose `kid` is the service's name."""
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": name,
        "alg": "ES256",
        "use": "sig",
        "x": _base64url(numbers.public_numbers.x),
        "y": _base64url(numbers.public_numbers.y),
        "d": _base64url(numbers.private_value),
    }


def public_half(jwk: dict[str, str]) -> dict[str, str]:
    """What others may know of a private key."""
    return {name: jwk[name] for name in _PUBLIC}


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
