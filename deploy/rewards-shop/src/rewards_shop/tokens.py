"""Judging the token that a browser brings from the platform.

python-jose does the arithmetic of the signature and nothing else. Its own `jwt.decode` lets pass a missing `aud`,
an `iat` in the future, an unknown `crit` and a `kid` that is not in the set, and with more than one algorithm
allowed takes a public key for an HMAC secret; so every check is written out here, in the order of a reader's trust.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from rewards_shop.keys import IssuerKeys
from rewards_shop.platform_client import Clock

LEEWAY_SECONDS = 5
LONGEST_LIFETIME_SECONDS = 300
LONGEST_TOKEN = 8192
PART = re.compile(r"[A-Za-z0-9_-]+")


class TokenRejected(Exception):
    """The token is not to be believed; `code` says why, in the platform's words."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Visitor:
    """Who comes, as the platform vouches for them."""

    user_id: str
    firstname: str
    lastname: str
    email: str
    points: int

    @property
    def called(self) -> str:
        """What to greet with: not everybody has a first name, or tells it."""
        return self.firstname or self.lastname or self.email


class TokenVerifier:
    """Believes tokens of one issuer, meant for one audience."""

    def __init__(self, keys: IssuerKeys, *, issuer: str, audience: str, clock: Clock) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def verify(self, token: str) -> Visitor:
        """The visitor the token names. Raises TokenRejected, or KeysUnavailable if nobody can judge it now."""
        parts = token.split(".")
        if len(token) > LONGEST_TOKEN or len(parts) != 3 or not all(map(PART.fullmatch, parts)):
            raise TokenRejected("malformed_token")
        header, claims = _json_object(parts[0]), _json_object(parts[1])
        await self._check_signature(header, f"{parts[0]}.{parts[1]}".encode(), _decode(parts[2]))
        self._check_claims(claims)
        return _visitor(claims)

    async def _check_signature(self, header: dict[str, Any], signed: bytes, signature: bytes) -> None:
        if header.get("typ") != "JWT":
            raise TokenRejected("wrong_type")
        if "crit" in header:  # It names what must be understood; the shop understands no extension.
            raise TokenRejected("malformed_token")
        kid = header.get("kid")
        key = await self._keys.find(kid) if isinstance(kid, str) else None
        # The key decides which algorithm it is used with. A token that asks for another one is a forgery.
        if key is None or header.get("alg") != key.algorithm or not key.verifies(signed, signature):
            raise TokenRejected("invalid_signature")

    def _check_claims(self, claims: dict[str, Any]) -> None:
        now = self._clock()
        issued_at, expires_at = _seconds(claims, "iat"), _seconds(claims, "exp")
        not_before = _seconds(claims, "nbf") if "nbf" in claims else issued_at
        audience = claims.get("aud")
        if claims.get("iss") != self._issuer:
            raise TokenRejected("wrong_issuer")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRejected("wrong_audience")
        if now >= expires_at + LEEWAY_SECONDS:
            raise TokenRejected("token_expired")
        if max(issued_at, not_before) > now + LEEWAY_SECONDS:
            raise TokenRejected("token_not_yet_valid")
        if not 0 < expires_at - issued_at <= LONGEST_LIFETIME_SECONDS:
            raise TokenRejected("malformed_token")
        if not _text(claims, "jti"):
            raise TokenRejected("malformed_token")


def _visitor(claims: dict[str, Any]) -> Visitor:
    points = claims.get("points")
    if not isinstance(points, int) or isinstance(points, bool) or points < 0:
        raise TokenRejected("malformed_token")
    user_id = _text(claims, "userid", "userId")
    if not user_id:
        raise TokenRejected("malformed_token")
    return Visitor(
        user_id=user_id,
        firstname=_text(claims, "firstname", "firstName"),
        lastname=_text(claims, "lastname", "lastName"),
        email=_text(claims, "email"),
        points=points,
    )


def _decode(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenRejected("malformed_token") from None


def _json_object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decode(part))
    except (ValueError, RecursionError):
        raise TokenRejected("malformed_token") from None
    if not isinstance(value, dict):
        raise TokenRejected("malformed_token")
    return value


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise TokenRejected("malformed_token")
    return value


def _text(claims: dict[str, Any], *spellings: str) -> str:
    for spelling in spellings:
        value = claims.get(spelling)
        if isinstance(value, str):
            return value
    raise TokenRejected("malformed_token")
