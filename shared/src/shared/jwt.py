"""JWT: python-jose checks the signature, this module checks everything else.

python-jose 3.5 was found to accept a token forged with HS256 under an RSA public key when algorithms are mixed, a
missing `aud`, an `iat` in the future, unknown `crit`, a `kid` that is not in the set, and an empty HMAC secret.
So: one algorithm a key, the key by exact `kid`, and `typ`, `crit`, `iat`, `exp`, `aud`, `iss` required and checked;
`jti` and the longest life where a caller of this module asks for them.
"""

import functools
import hashlib
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from jose import jwk as jose_jwk
from jose.backends.base import Key
from jose.exceptions import JOSEError
from jose.utils import base64url_decode

from shared.bounded import Bounded

#: Algorithm → type of its keys, and the members that such a key must have.
_KEY_OF_ALGORITHM: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ES256": ("EC", ("crv", "x", "y")),
    "RS256": ("RSA", ("n", "e")),
    "HS256": ("oct", ("k",)),
}
ALGORITHMS: Final = frozenset(_KEY_OF_ALGORITHM)
#: Type of a client's key → the algorithm that is accepted for it.
_CLIENT_ALGORITHMS: Final[Mapping[str, str]] = {"EC": "ES256", "RSA": "RS256"}
MIN_SECRET_BYTES: Final = 32
MIN_RSA_BITS: Final = 2048
#: A verification with more bits, or a longer exponent, takes as long as its owner likes.
MAX_RSA_BITS: Final = 8192
_MAX_RSA_EXPONENT_CHARACTERS: Final = 6
#: The clocks of two well-kept machines differ by less (seconds).
LEEWAY_SECONDS: Final = 5
MAX_TOKEN_CHARACTERS: Final = 8192
#: The last second that a `datetime` can tell.
_END_OF_TIME: Final = 253_402_300_799


#: Every `reason` of a `Rejected`.
REASONS: Final = (
    "invalid_signature",
    "malformed_token",
    "token_expired",
    "token_lives_too_long",
    "token_not_yet_valid",
    "unknown_key",
    "wrong_audience",
    "wrong_issuer",
    "wrong_type",
)


class Rejected(Exception):
    """A token is refused. `reason` is a stable code that the sender may see."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class UnusableKey(ValueError):
    """A key must not be used: it is too short, of another type, or for an algorithm that is not allowed."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key that verifies one algorithm only."""

    kid: str
    algorithm: str
    key: Key

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> "VerificationKey":
        """A public key from a JWK that names its `kid` and `alg`.

        Raises:
            UnusableKey: as it says.
        """
        key = _construct(jwk)
        if "d" in jwk or jwk["kty"] == "oct":
            raise UnusableKey(f"key {jwk['kid']}: is not a public one")
        if jwk.get("use", "sig") != "sig":
            raise UnusableKey(f"key {jwk['kid']}: is not for signatures")
        return cls(jwk["kid"], jwk["alg"], key)

    @classmethod
    def from_secret(cls, kid: str, secret: bytes) -> "VerificationKey":
        """An HS256 secret of at least 32 bytes."""
        # As a JWK, since python-jose refuses a text that happens to look like another format.
        jwk = {"kty": "oct", "kid": kid, "alg": "HS256", "k": _base64url(secret)}
        return cls(kid, "HS256", _construct(jwk))


class KeySet:
    """Verification keys by exact kid.

    Args:
        kid_optional: if there is one key only, a token need not name it; many clients do not.
    """

    def __init__(self, keys: Iterable[VerificationKey], *, kid_optional: bool = False) -> None:
        self._keys = {key.kid: key for key in keys}
        self._lone = next(iter(self._keys.values())) if kid_optional and len(self._keys) == 1 else None

    @classmethod
    def from_jwks(cls, jwks: Mapping[str, Any], *, kid_optional: bool = False) -> "KeySet":
        """The usable keys of a JWKS. Keys of other algorithms are ignored.

        Raises:
            UnusableKey: it is no JWKS at all.
        """
        entries = jwks.get("keys")
        if not isinstance(entries, list):
            raise UnusableKey("a JWKS has a list of keys")
        keys = []
        for jwk in entries:
            # One odd key must not make the good ones unusable.
            with suppress(UnusableKey):
                keys.append(VerificationKey.from_jwk(jwk if isinstance(jwk, dict) else {}))
        return cls(keys, kid_optional=kid_optional)

    def get(self, kid: str) -> VerificationKey | None:
        return self._keys.get(kid)

    def chosen_by(self, header: Mapping[str, Any]) -> VerificationKey | None:
        """The key that the header of a token names."""
        if "kid" not in header:
            return self._lone
        return self._keys.get(header["kid"]) if isinstance(header["kid"], str) else None

    def __contains__(self, kid: str) -> bool:
        return kid in self._keys


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key (or secret) that signs one algorithm only."""

    kid: str
    algorithm: str
    key: Key

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> "SigningKey":
        """From a private JWK with `kid` and `alg`. Build it once and keep it: that costs as much as 100 signatures.

        Raises:
            UnusableKey: as it says.
        """
        key = _construct(jwk)
        if "d" not in jwk and jwk["kty"] != "oct":
            raise UnusableKey(f"key {jwk['kid']}: a public key cannot sign")
        return cls(jwk["kid"], jwk["alg"], key)

    def sign(self, claims: Mapping[str, Any], typ: str) -> str:
        """A compact JWS over `claims` with `kid` and `typ` in its header."""
        # Not `jws.sign`, which takes as long again for the same text.
        text = self.text(claims, typ)
        return with_signature(text, self.key.sign(text.encode()))

    def text(self, claims: Mapping[str, Any], typ: str) -> str:
        """What is signed: header and claims."""
        return f"{_header(self.kid, self.algorithm, typ)}.{_base64url(orjson.dumps(claims))}"


def with_signature(text: str, signature: bytes) -> str:
    """The compact JWS of a text that was signed elsewhere."""
    return f"{text}.{_base64url(signature)}"


@functools.lru_cache(maxsize=1024)
def _header(kid: str, algorithm: str, typ: str) -> str:
    return _base64url(orjson.dumps({"alg": algorithm, "kid": kid, "typ": typ}))


def _construct(jwk: Mapping[str, Any]) -> Key:
    """The key of a complete JWK that is strong enough.

    Raises:
        UnusableKey: as it says; the message does not repeat the key.
    """
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str) or not kid:
        raise UnusableKey("a key needs a kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise UnusableKey(f"key {kid}: alg must be one of {', '.join(sorted(ALGORITHMS))}")
    key_type, members = _KEY_OF_ALGORITHM[algorithm]
    if jwk.get("kty") != key_type or not all(isinstance(jwk.get(member), str) for member in members):
        raise UnusableKey(f"key {kid}: {algorithm} needs a key of type {key_type} with {', '.join(members)}")
    if algorithm == "ES256" and jwk["crv"] != "P-256":
        raise UnusableKey(f"key {kid}: ES256 needs the curve P-256")
    try:
        key = jose_jwk.construct(dict(jwk), algorithm)
    except (JOSEError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableKey(f"key {kid}: cannot be read") from error
    # Measure the number itself: leading zeros would make a short one look long.
    if algorithm == "RS256" and not MIN_RSA_BITS <= key.prepared_key.key_size <= MAX_RSA_BITS:
        raise UnusableKey(f"key {kid}: RSA keys have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    if algorithm == "RS256" and len(jwk["e"]) > _MAX_RSA_EXPONENT_CHARACTERS:
        raise UnusableKey(f"key {kid}: the exponent of an RSA key has at most 32 bits")
    if algorithm == "HS256" and len(key.prepared_key) < MIN_SECRET_BYTES:
        raise UnusableKey(f"key {kid}: HS256 secrets have at least {MIN_SECRET_BYTES} bytes")
    return key


def named_client_keys(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """A client's JWKS in which each key has a `kid` and an `alg`; without `alg`, the one of its type of key.

    Raises:
        UnusableKey: it is no JWKS.
    """
    entries = jwks.get("keys")
    if not isinstance(entries, list) or not all(isinstance(jwk, dict) for jwk in entries):
        raise UnusableKey("a JWKS has a list of keys")
    return {
        "keys": [
            {"alg": _CLIENT_ALGORITHMS.get(str(jwk.get("kty"))), "kid": f"key {n}", **jwk}
            for n, jwk in enumerate(entries)
        ]
    }


def judge_client_keys(jwks: Mapping[str, Any]) -> None:
    """Passes a client's JWKS of which every key can verify what the client signs.

    Raises:
        UnusableKey: names the first key that cannot, or the `kid` that two keys have.
    """
    keys = [VerificationKey.from_jwk(jwk) for jwk in named_client_keys(jwks)["keys"]]
    kids = [key.kid for key in keys]
    for n, kid in enumerate(kids):
        if kid in kids[:n]:
            raise UnusableKey(f"key {kid}: two keys have this kid")


@dataclass(frozen=True, slots=True)
class Parts:
    """A token taken apart, of which nothing is verified."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    def is_signed_by(self, key: VerificationKey) -> bool:
        """Whether the signature is the key's, by the key's own algorithm."""
        return bool(key.key.verify(self.signed, self.signature))

    def digest(self) -> bytes:
        """SHA-256 of the whole token; of the signature too, since a text can have several, and bad ones."""
        return hashlib.sha256(self.signed + b"." + _base64url(self.signature).encode()).digest()


class GoodSignatures:
    """Remembers which keys verified which tokens, so that a token that comes often is verified once.

    That a key verifies some bytes never changes. Whether the key counts is for `verify` to say, each time anew, by the
    keys that it gets. Bad signatures are not kept, so strangers drive no good one out; nor is any token, only digests.

    Args:
        at_most: tokens.
    """

    def __init__(self, at_most: int) -> None:
        self._keys: Bounded[bytes, VerificationKey] = Bounded(at_most)

    def is_good(self, parts: Parts, key: VerificationKey) -> bool:
        """Whether the signature is the key's."""
        digest = parts.digest()
        # The very same object: another key of the same name is another key.
        if self._keys.get(digest) is key:
            return True
        if not parts.is_signed_by(key):
            return False
        self._keys.keep(digest, key)
        return True


def take_apart(token: str) -> Parts:
    """The parts of a token, to choose a key or to explain what is wrong; `verify` decides whether the token is good.

    Raises:
        Rejected: `malformed_token`.
    """
    header, claims, signature = _segments(token)
    signed = token.rpartition(".")[0].encode()
    return Parts(_json_object(header), _json_object(claims), signed, signature)


def verify(
    token: str | Parts,
    keys: KeySet,
    *,
    typ: str | frozenset[str],
    issuer: str,
    audience: str,
    now: float | None = None,
    leeway_seconds: int = LEEWAY_SECONDS,
    longest_seconds: int | None = None,
    needs_iat: bool = True,
    needs_exp: bool = True,
    needs_jti: bool = False,
    signatures: GoodSignatures | None = None,
) -> dict[str, Any]:
    """The claims of a token, if it passes every check.

    Args:
        token: as it came, or taken apart.
        typ: the only accepted `typ` of the header, compared without regard to case (RFC 7515, 4.1.9); of several,
            an empty one stands for a header that has none.
        issuer: the only accepted `iss`.
        audience: must be, or be among, `aud`.
        now: seconds since 1970; the machine's clock by default.
        longest_seconds: how long a token may live, from `iat`, or from now where it has none, to `exp`, which it
            must have then.
        needs_iat, needs_exp, needs_jti: whether the token must have the claim.
        signatures: the good ones that are known; a new one is added.

    Raises:
        Rejected: `malformed_token`, `unknown_key`, `invalid_signature`, `wrong_type`, `wrong_issuer`,
            `wrong_audience`, `token_not_yet_valid`, `token_expired` or `token_lives_too_long`.
    """
    parts = take_apart(token) if isinstance(token, str) else token
    header, claims = parts.header, parts.claims
    key = keys.chosen_by(header)
    if key is None:
        raise Rejected("unknown_key", "The token names no key that is in use here.")
    if header.get("alg") != key.algorithm:
        raise Rejected("invalid_signature", "invalid signature")
    if "crit" in header:
        raise Rejected("malformed_token", "The token demands an extension that is not understood.")
    accepted = frozenset({typ}) if isinstance(typ, str) else typ
    given = header.get("typ", "")
    if not isinstance(given, str) or given.lower() not in {one.lower() for one in accepted}:
        raise Rejected("wrong_type", f"The token is not of the type {' or '.join(sorted(filter(None, accepted)))}.")
    # Not `jws.verify`: it parses the header again in its own way and fails on a deeply nested one.
    if not (parts.is_signed_by(key) if signatures is None else signatures.is_good(parts, key)):
        raise Rejected("invalid_signature", "invalid signature")
    moment = time.time() if now is None else now
    _check_form(claims, needs_iat=needs_iat, needs_exp=needs_exp, needs_jti=needs_jti)
    _check_claims(claims, issuer, audience, moment, leeway_seconds)
    if longest_seconds is not None:
        _check_life(claims, moment + leeway_seconds, longest_seconds)
    return claims


def _check_form(claims: Mapping[str, Any], *, needs_iat: bool, needs_exp: bool, needs_jti: bool) -> None:
    for name, is_needed in (("iat", needs_iat), ("exp", needs_exp), ("nbf", False)):
        if (is_needed or name in claims) and not is_time(claims.get(name)):
            raise Rejected("malformed_token", f"The token does not say its {name}.")
    if needs_jti and not (isinstance(claims.get("jti"), str) and claims["jti"]):
        raise Rejected("malformed_token", "The token does not say its jti.")


def _check_life(claims: Mapping[str, Any], latest: float, longest_seconds: int) -> None:
    # `iat` is not later than `latest`, which was checked: to sign in advance wins nothing.
    if claims["exp"] - claims.get("iat", latest) > longest_seconds:
        raise Rejected("token_lives_too_long", "The token is valid for longer than any that is given out.")


def _check_claims(claims: Mapping[str, Any], issuer: str, audience: str, now: float, leeway: int) -> None:
    if claims.get("iss") != issuer:
        raise Rejected("wrong_issuer", "The token comes from another issuer.")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise Rejected("wrong_audience", "The token is meant for somebody else.")
    if claims.get("iat", 0) > now + leeway or claims.get("nbf", 0) > now + leeway:
        raise Rejected("token_not_yet_valid", "The token is not valid yet.")
    if "exp" in claims and claims["exp"] <= now - leeway:
        raise Rejected("token_expired", "token expired")


def is_time(value: Any) -> bool:
    """Whether a claim is a time: a whole number of seconds since 1970."""
    # `type`, because True is an int too.
    return type(value) is int and 0 <= value <= _END_OF_TIME


def _segments(token: str) -> tuple[bytes, bytes, bytes]:
    """Header, claims and signature, each in the one spelling of RFC 7515.

    Python's base64 ignores unknown characters and spare bits. One signature would then have many spellings, and a token
    that was used up or revoked would look new.
    """
    if len(token) > MAX_TOKEN_CHARACTERS or token.count(".") != 2:
        raise Rejected("malformed_token", "This is not a token.")
    header, claims, signature = (_decode(segment) for segment in token.split("."))
    return header, claims, signature


def _decode(segment: str) -> bytes:
    try:
        decoded: bytes = base64url_decode(segment.encode())
    except ValueError:
        decoded = b""
    if _base64url(decoded) != segment:
        raise Rejected("malformed_token", "This is not a token.")
    return decoded


def _json_object(encoded: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(encoded)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Rejected("malformed_token", "This is not a token.")
    return value


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
