"""The rules of access tokens: pure decisions, and the refusals of RFC 6749."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

from shared.errors import Malformed, Unauthenticated
from shared.identifiers import Identifier
from shared.paging import Listing
from shared.times import Instant

LONGEST_ACCESS_TOKEN_SECONDS: Final = 600
ACCESS_TOKEN_TYP: Final = "at+jwt"  # noqa: S105 — the type of a token, no secret
#: The scopes that a tenant can consent to. The others belong to the platform's own clients.
CONSENTABLE_SCOPES: Final = (
    "points:read",
    "points:redeem",
    "points:admin",
    "users:read",
    "users:write",
    "tokens:issue",
    "tokens:verify",
    "tokens:stats",
)
#: RFC 6749, 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
#: RFC 7636, 4.1.
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")

Kind = Literal["first_party", "third_party"]


class GrantType(StrEnum):
    AUTHORIZATION_CODE = "authorization_code"
    CLIENT_CREDENTIALS = "client_credentials"


class InvalidRequest(Malformed):
    code = "invalid_request"


class InvalidClient(Unauthenticated):
    code = "invalid_client"

    def __init__(self, message: str = "Unknown client, or its credentials are wrong.", *, log: str | None = None):
        super().__init__(message, log=log)


class InvalidGrant(Malformed):
    code = "invalid_grant"

    def __init__(self, *, log: str | None = None) -> None:
        super().__init__("The code is not valid, not for this client, or does not go with what was sent.", log=log)


class UnauthorizedClient(Malformed):
    code = "unauthorized_client"


class UnsupportedGrantType(Malformed):
    code = "unsupported_grant_type"

    def __init__(self) -> None:
        super().__init__("The grant types here are authorization_code and client_credentials.")


class InvalidScope(Malformed):
    code = "invalid_scope"


@dataclass(frozen=True, kw_only=True)
class AuthorityClient:
    """A client, authenticated at its own tenant's authority."""

    client_id: str
    tenant: str
    kind: Kind
    #: The registered scopes. A third party gets only those that the tenant consented to.
    scopes: frozenset[str]
    #: Whether the client is bound to a vendor id or to addresses, which an access token does not carry.
    is_bound: bool = False
    #: Whether it is bound to addresses.
    has_addresses: bool = False


@dataclass(frozen=True, kw_only=True)
class Consent:
    """The consent of a tenant admin."""

    subject: str
    scopes: frozenset[str]
    version: int
    #: The version with which the present consent began; a withdrawal ended everything before it.
    since_version: int = 0


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The content of an access token before it is signed."""

    client: AuthorityClient
    grant_type: GrantType
    subject: str
    scopes: tuple[str, ...]
    #: None for the platform's own clients, which need no consent.
    consent_version: int | None


class EventKind(StrEnum):
    ISSUED = "issued"
    REFUSED = "refused"
    INTROSPECTED = "introspected"
    REVOKED = "revoked"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of the audit; never the token. `happened_at` None is the database's clock."""

    tenant: str
    event_id: str
    event: EventKind
    request_id: str
    reason: str | None = None
    client_id: str | None = None
    subject: str | None = None
    jti: str | None = None
    token_client_id: str | None = None
    grant_type: str | None = None
    scope: str | None = None
    consent_version: int | None = None
    kid: str | None = None
    happened_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def written_at(self) -> datetime:
        """The time of an event that was read."""
        assert self.happened_at is not None  # noqa: S101 — the column is never empty
        return self.happened_at


class EventPlace(NamedTuple):
    """Where an event stands among the others, from the newest on."""

    happened_at: Instant
    event_id: Identifier


EVENTS: Final = Listing("authority events", EventPlace)


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """An issued access token in the audit, and whether it was revoked."""

    jti: str
    client_id: str
    subject: str
    scopes: frozenset[str]
    consent_version: int | None
    expires_at: datetime
    is_revoked: bool


def parse_scope(text: str | None) -> tuple[str, ...] | None:
    """The scopes of a request, each once; None if it names none.

    Raises:
        InvalidScope: not the syntax of RFC 6749.
    """
    if text is None:
        return None
    scopes = [scope for scope in text.split(" ") if scope]
    if not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise InvalidScope("The scope is not a list of words separated by blanks.")
    return tuple(dict.fromkeys(scopes)) or None


def grant_scopes(requested: tuple[str, ...] | None, available: Collection[str]) -> tuple[str, ...]:
    """The scopes of a token: all available ones, or the requested ones among them.

    Raises:
        InvalidScope: a requested scope is not available, or none is.
    """
    if not available:
        raise InvalidScope("There is no scope that this client could have.")
    if requested is None:
        return tuple(sorted(available))
    if not set(requested) <= set(available):
        raise InvalidScope("A scope was asked for that this client does not have here.")
    return requested


def consentable(scopes: frozenset[str]) -> frozenset[str]:
    """Those of `scopes` that a tenant can consent to."""
    return scopes.intersection(CONSENTABLE_SCOPES)


def check_unlisted(client: AuthorityClient) -> None:
    """Refuses a third party with an address list, which its access tokens would get around.

    Such a list was taken at its registration once.

    Raises:
        UnauthorizedClient
    """
    if client.has_addresses:
        raise UnauthorizedClient("A third party with an address list gets no tokens: they carry no addresses.")


def decide_by_consent(client: AuthorityClient, consent: Consent | None, requested: tuple[str, ...] | None) -> Grant:
    """The grant of a third party without a code, within the tenant's consent.

    Raises:
        UnauthorizedClient: there is no consent, or the client is bound to addresses.
        InvalidScope: the request exceeds the consent.
    """
    check_unlisted(client)
    if consent is None:
        raise UnauthorizedClient("The tenant has not consented to this client, or no longer does.")
    return Grant(
        client=client,
        grant_type=GrantType.CLIENT_CREDENTIALS,
        subject=consent.subject,
        scopes=grant_scopes(requested, consentable(consent.scopes & client.scopes)),
        consent_version=consent.version,
    )


def decide_for_own_client(client: AuthorityClient, requested: tuple[str, ...] | None) -> Grant:
    """The grant of one of the platform's own clients: its registered scopes, in its own name.

    Raises:
        UnauthorizedClient: the client is bound to a vendor or to addresses, which an access token does not carry.
        InvalidScope: the request exceeds the registration.
    """
    if client.is_bound:
        raise UnauthorizedClient("A client of a vendor, or with an address list, calls with Basic instead.")
    return Grant(
        client=client,
        grant_type=GrantType.CLIENT_CREDENTIALS,
        subject=client.client_id,
        scopes=grant_scopes(requested, client.scopes),
        consent_version=None,
    )


def access_token_claims(
    grant: Grant, *, issuer: str, audience: str, jti: str, issued_at: int, expires_at: int
) -> dict[str, Any]:
    """The claims of RFC 9068."""
    return {
        "iss": issuer,
        "aud": audience,
        "sub": grant.subject,
        "client_id": grant.client.client_id,
        "scope": " ".join(grant.scopes),
        "tenant": grant.client.tenant,
        "iat": issued_at,
        "exp": expires_at,
        "jti": jti,
    }


def why_inactive(issued: IssuedToken | None, claims: Mapping[str, Any]) -> str | None:
    """Why a well-signed, unexpired token is inactive according to this service's records; None if it is active."""
    if (
        issued is None
        or issued.client_id != claims.get("client_id")
        or issued.subject != claims.get("sub")
        or " ".join(sorted(issued.scopes)) != " ".join(sorted(str(claims.get("scope")).split()))
        or issued.expires_at.timestamp() != claims.get("exp")
    ):
        return "token_not_issued"
    return "token_revoked" if issued.is_revoked else None


def why_not_consented(issued: IssuedToken, consent: Consent | None) -> str | None:
    """Why the tenant's present consent no longer covers a token; None if it does."""
    if consent is None:
        return "consent_withdrawn"
    if issued.consent_version is None or consent.version < issued.consent_version:
        return "consent_replaced"
    if issued.consent_version < consent.since_version:
        # The tenant consented anew; that does not revive what the withdrawal ended.
        return "consent_withdrawn"
    if consent.subject != issued.subject:
        return "user_replaced"
    return None if issued.scopes <= consent.scopes else "scope_withdrawn"


def is_verifier(text: str) -> bool:
    """Whether a text has the form of a PKCE code verifier."""
    return _VERIFIER.fullmatch(text) is not None
