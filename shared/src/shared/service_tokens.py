"""Who speaks between services: a JWT of at most 60 s, `typ: svc+jwt`, `iss` the caller, `aud` the callee.

Every service signs with a key of its own and knows the public keys of its peers, so that a service that falls
into wrong hands cannot speak as another.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import SecretStr

from shared import tokens
from shared.errors import Unauthenticated

LIFETIME_SECONDS: Final = 60
TYP: Final = "svc+jwt"


@dataclass(frozen=True, slots=True)
class _Minted:
    token: str
    good_until: float


class ServiceTokens:
    """Mints tokens as `name` and verifies those of its peers.

    Args:
        service_key: the private JWK (EC P-256) whose kid is this service's name.
        service_peers: JWKS in which each key's kid is a service's name.

    Raises:
        ValueError: a key cannot be used.
    """

    def __init__(self, service_key: SecretStr, service_peers: str) -> None:
        key: Mapping[str, Any] = orjson.loads(service_key.get_secret_value())
        self.name = str(key["kid"])
        self._signing_key = tokens.SigningKey.from_jwk({**key, "alg": "ES256"})
        self._peers = {
            str(peer["kid"]): tokens.KeySet([tokens.VerificationKey.from_jwk({**peer, "alg": "ES256"})])
            for peer in orjson.loads(service_peers)["keys"]
        }
        self._minted: dict[str, _Minted] = {}

    def mint(self, audience: str) -> str:
        """A token for `audience` that is good for at least half its life; one is used for many calls."""
        now = time.time()
        minted = self._minted.get(audience)
        if minted is None or minted.good_until < now:
            claims = {"iss": self.name, "aud": audience, "iat": int(now), "exp": int(now) + LIFETIME_SECONDS}
            minted = _Minted(self._signing_key.sign(claims, TYP), now + LIFETIME_SECONDS / 2)
            self._minted[audience] = minted
        return minted.token

    def verify(self, token: str) -> str:
        """The name of the service that calls.

        Raises:
            Unauthenticated: the token is not good, or not for this service.
        """
        try:
            caller = str(tokens.unverified_header(token).get("kid"))
            claims = tokens.verify(
                token,
                self._peers.get(caller, tokens.KeySet([])),
                typ=TYP,
                issuer=caller,
                audience=self.name,
            )
        except tokens.Rejected as error:
            raise Unauthenticated("This path is for the platform's own services.", log=error.reason) from None
        if claims["exp"] - claims["iat"] > LIFETIME_SECONDS:
            raise Unauthenticated("This path is for the platform's own services.", log="lives too long")
        return caller
