"""The token that carries a user to your shop: judged offline, then redeemed once at the platform."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import jwt

from points_client.exchanges import Exchange, Request, fresh_key, granted, once, told
from points_client.schemas import RedeemedToken

LEEWAY_SECONDS: Final = 30
LONGEST_LIFETIME_SECONDS: Final = 300
#: How long a key set is good; for an unknown `kid` it is fetched again, but not more often than the second number.
_KEYS_LIVE_SECONDS: Final = 300.0
_KEYS_REST_SECONDS: Final = 10.0
_REQUIRED: Final = ("iss", "aud", "iat", "exp", "jti")


class TokenRejected(Exception):
    """Do not believe the token. `code` says why, in the platform's words."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Visitor:
    """The user whom the platform vouches for. `points` is the balance at the moment of the redirect."""

    user_id: str
    firstname: str
    lastname: str
    email: str
    points: int
    claims: Mapping[str, Any]


class TokenVerifier:
    """Judges tokens of one agreement. Keep it: it remembers the key set.

    Args:
        issuer: the tenant authority, as `iss` names it.
        audience: what was agreed; without another agreement your vendor id.
        algorithm: the one that was agreed: RS256, ES256 or HS256.
        jwks_path: where the keys are, from the cloud API URL.
        hs256_secret: with HS256, the secret's text.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        algorithm: str,
        jwks_path: str = "/.well-known/jwks.json",
        hs256_secret: str | None = None,
    ) -> None:
        if (algorithm == "HS256") != (hs256_secret is not None):
            raise ValueError("HS256 needs its secret, and no other algorithm has one")
        self._issuer = issuer
        self._audience = audience
        self._algorithm = algorithm
        self._jwks_path = jwks_path
        self._secret = hs256_secret
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")

    def verify(self, token: str) -> Exchange[Visitor]:
        """The visitor. It does not use the token up: that is `redeem`.

        Raises:
            TokenRejected: forged, expired, or meant for somebody else.
            Unanswered: the keys cannot be fetched, so nobody can say.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRejected("malformed_token") from None
        # The agreement says which algorithm is used. A token that asks for another one is a forgery.
        if header.get("alg") != self._algorithm:
            raise TokenRejected("invalid_signature")
        if header.get("typ") != "JWT":
            raise TokenRejected("wrong_type")
        if "crit" in header:  # It names what must be understood, and no extension is.
            raise TokenRejected("malformed_token")
        key: Any = self._secret
        if key is None:
            key = yield from self._key(header.get("kid"))
        return _visitor(self._claims(token, key))

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_REQUIRED)},
            )
        except jwt.InvalidTokenError as error:
            raise TokenRejected(_code_of(error)) from None
        if not 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFETIME_SECONDS:
            raise TokenRejected("malformed_token")
        return claims

    def _key(self, kid: object) -> Exchange[jwt.PyJWK]:
        """The key with exactly this id."""
        if not isinstance(kid, str):
            raise TokenRejected("invalid_signature")
        age = monotonic() - self._fetched_at
        if age > _KEYS_LIVE_SECONDS or (kid not in self._keys and age > _KEYS_REST_SECONDS):
            answer = yield from granted(Request("GET", self._jwks_path))
            self._keys = dict(_readable(answer.body.get("keys", [])))
            self._fetched_at = monotonic()
        key = self._keys.get(kid)
        if key is None or key.algorithm_name != self._algorithm:
            raise TokenRejected("invalid_signature")
        return key


def redeem(token: str, key: str | None = None) -> Exchange[RedeemedToken]:
    """Uses the token up: the claims, and `points_now`. Only the platform knows whether somebody used it before.

    Args:
        key: yours for this visit, never made of the token: who brings a token again must not get the first answer.
            With it you may ask again after a crash. Without one, only the retries of this call repeat.

    Raises:
        Refused: `token_already_redeemed`, `token_expired`, `invalid_signature` …
        Unanswered: it may be used up. Let the user come again.
    """
    return told(RedeemedToken, once("POST", "/sso/v1/tokens/redeem", {"token": token}, key or fresh_key()))


def _readable(keys: list[Any]) -> Iterator[tuple[str, jwt.PyJWK]]:
    """Key id and key, without those of a kind that is newer than this client."""
    for one in keys:
        try:
            yield str(one["kid"]), jwt.PyJWK(one)
        except (jwt.PyJWKError, jwt.InvalidKeyError, LookupError, TypeError):
            continue


def _code_of(error: jwt.InvalidTokenError) -> str:
    for kind, code in (
        (jwt.ExpiredSignatureError, "token_expired"),
        (jwt.ImmatureSignatureError, "token_not_yet_valid"),
        (jwt.InvalidAudienceError, "wrong_audience"),
        (jwt.InvalidIssuerError, "wrong_issuer"),
        (jwt.InvalidSignatureError, "invalid_signature"),
    ):
        if isinstance(error, kind):
            return code
    return "malformed_token"


def _visitor(claims: Mapping[str, Any]) -> Visitor:
    """Claims are spelled in lower or in camel case, as was agreed."""

    def text(*spellings: str) -> str:
        for spelling in spellings:
            if isinstance(value := claims.get(spelling), str):
                return value
        raise TokenRejected("malformed_token")

    points = claims.get("points")
    if not isinstance(points, int) or isinstance(points, bool):
        raise TokenRejected("malformed_token")
    return Visitor(
        text("userid", "userId"),
        text("firstname", "firstName"),
        text("lastname", "lastName"),
        text("email"),
        points,
        claims,
    )
