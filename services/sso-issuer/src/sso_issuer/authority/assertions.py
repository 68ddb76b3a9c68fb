"""`private_key_jwt` (RFC 7523): a client authenticates with a JWT that it signed with its own key."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.jwt import KeySet, Rejected, UnusableKey

from shared import jwt
from sso_issuer.authority.domain import InvalidClient

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("ES256", "RS256")
#: Most libraries send no type or `JWT`; RFC 7523bis asks for the last one.
_TYPES: Final = frozenset({"", "jwt", "client-authentication+jwt"})


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """A good assertion. It may be used once, until it expires."""

    jti_digest: bytes
    expires_at: datetime


def claimed_client(assertion: str) -> str:
    """The client that an unverified assertion claims to come from.

    Raises:
        InvalidClient: it names none.
    """
    try:
        subject = jwt.take_apart(assertion).claims.get("sub")
    except Rejected as rejected:
        raise _refuse(rejected.reason) from None
    if not isinstance(subject, str) or not subject:
        raise _refuse("no sub")
    return subject


def verify(
    assertion: str,
    *,
    client_id: str,
    jwks: Mapping[str, Any] | None,
    audiences: Collection[str],
    now: float,
    longest_seconds: int,
) -> Assertion:
    """Checks everything except whether the assertion was used before.

    Args:
        jwks: the client's public keys, from the register.
        audiences: the allowed `aud`: the authority, or one of its endpoints.
        longest_seconds: the longest life of an assertion.

    Raises:
        InvalidClient: only the log learns why.
    """
    try:
        parts = jwt.take_apart(assertion)
        claims = jwt.verify(
            parts,
            _keys_of(jwks or {}),
            typ=_TYPES,
            issuer=client_id,
            audience=_addressed_to(parts.claims.get("aud"), audiences),
            now=now,
            longest_seconds=longest_seconds,
            needs_iat=False,
            needs_jti=True,
        )
    except Rejected as rejected:
        raise _refuse(rejected.reason) from None
    if claims.get("sub") != client_id:
        raise _refuse("sub is not iss")
    return Assertion(
        # A lone surrogate can stand in JSON and not in UTF-8.
        jti_digest=hashlib.sha256(claims["jti"].encode("utf-8", "surrogatepass")).digest(),
        # Remember it as long as it would be accepted.
        expires_at=datetime.fromtimestamp(claims["exp"] + jwt.LEEWAY_SECONDS, UTC),
    )


def _keys_of(jwks: Mapping[str, Any]) -> KeySet:
    """The client's keys, which were judged when it was registered; those from before that may be odd."""
    try:
        return KeySet.from_jwks(jwt.named_client_keys(jwks), kid_optional=True)
    except UnusableKey:
        return KeySet([])


def _addressed_to(aud: Any, audiences: Collection[str]) -> str:
    """The audience, which must be one of `audiences` alone: a further one could use the assertion too."""
    meant = aud if isinstance(aud, list) else [aud]
    if not meant or not all(isinstance(one, str) and one in audiences for one in meant):
        raise Rejected("wrong_audience", "The assertion is meant for somebody else.")
    return str(meant[0])


def _refuse(reason: str) -> InvalidClient:
    return InvalidClient(log=f"assertion: {reason}")
