"""Service tokens: a JWT of at most 60 s, `typ: svc+jwt`, `iss` the caller, `aud` the callee.

Every service signs with its own key and knows its peers' public keys, so that a captured service cannot speak as
another. Every token has a `jti`. A service remembers a verified token until it ends.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import SecretStr

from shared import jwt
from shared.bounded import Bounded
from shared.errors import Unauthenticated

LIFETIME_SECONDS: Final = 60
TYP: Final = "svc+jwt"
#: Each peer mints two tokens a minute.
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class _Minted:
    token: str
    at: float


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: str
    iat: int
    exp: int


class ServiceTokens:
    """Mints tokens as `name` and verifies those of its peers.

    Args:
        service_key: the private JWK (EC P-256) whose kid is this service's name.
        service_peers: JWKS in which each key's kid is a service's name; one that changes its key has two there.
        clock: seconds since 1970; handed in by tests.

    Raises:
        ValueError: a key cannot be used.
    """

    def __init__(self, service_key: SecretStr, service_peers: str, *, clock: Callable[[], float] = time.time) -> None:
        self._signing_key = jwt.SigningKey.from_jwk({**_object(service_key.get_secret_value()), "alg": "ES256"})
        self.name = self._signing_key.kid
        self._peers: dict[str, list[jwt.KeySet]] = {}
        for peer in _keys_of(service_peers):
            key = jwt.VerificationKey.from_jwk({**peer, "alg": "ES256"})
            self._peers.setdefault(key.kid, []).append(jwt.KeySet([key]))
        self._clock = clock
        self._minted: dict[str, _Minted] = {}
        self._verified: Bounded[bytes, _Verified] = Bounded(_REMEMBERED)

    def mint(self, audience: str) -> str:
        """A token for `audience` with at least half its life left; many calls share one."""
        now = self._clock()
        minted = self._minted.get(audience)
        # Not one from the future either: after a clock was set back, it would be kept until long after its end.
        if minted is None or not 0 <= now - minted.at < LIFETIME_SECONDS / 2:
            claims = {
                "iss": self.name,
                "aud": audience,
                "iat": int(now),
                "exp": int(now) + LIFETIME_SECONDS,
                "jti": secrets.token_urlsafe(12),
            }
            minted = _Minted(self._signing_key.sign(claims, TYP), now)
            self._minted[audience] = minted
        return minted.token

    def verify(self, token: str) -> str:
        """The name of the service that calls.

        Raises:
            Unauthenticated: the token is not good, or not for this service.
        """
        now = self._clock()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        remembered = self._verified.get(digest)
        # The times are checked again: a token must not outlive itself here, even after a clock was set back.
        if remembered is not None and remembered.iat - jwt.LEEWAY_SECONDS <= now < remembered.exp + jwt.LEEWAY_SECONDS:
            return remembered.caller
        try:
            parts = jwt.take_apart(token)
            caller = str(parts.header.get("kid"))
            claims = self._claims_of(parts, caller, now)
        except jwt.Rejected as error:
            raise Unauthenticated("This path is for the platform's own services.", log=error.reason) from None
        self._verified.keep(digest, _Verified(caller, claims["iat"], claims["exp"]))
        return caller

    def _claims_of(self, parts: jwt.Parts, caller: str, now: float) -> dict[str, Any]:
        """What it says, under one of the caller's own keys. Raises jwt.Rejected, as for the last of them."""
        *others, last = self._peers.get(caller, [jwt.KeySet([])])
        for keys in others:
            with suppress(jwt.Rejected):
                return self._verified_under(keys, parts, caller, now)
        return self._verified_under(last, parts, caller, now)

    def _verified_under(self, keys: jwt.KeySet, parts: jwt.Parts, caller: str, now: float) -> dict[str, Any]:
        return jwt.verify(
            parts,
            keys,
            typ=TYP,
            issuer=caller,
            audience=self.name,
            now=now,
            longest_seconds=LIFETIME_SECONDS,
            needs_jti=True,
        )


def _object(text: str) -> dict[str, Any]:
    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise jwt.UnusableKey("this is no JSON object")
    return value


def _keys_of(jwks: str) -> list[dict[str, Any]]:
    keys = _object(jwks).get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise jwt.UnusableKey("a JWKS has a list of keys")
    return keys
