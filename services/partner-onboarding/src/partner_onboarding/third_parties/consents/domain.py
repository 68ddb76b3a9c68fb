"""The rules of consents and authorization codes."""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from shared.errors import Malformed, NotFound
from shared.web.addresses import is_registered

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.domain import SCOPES, Client

Event = Literal["granted", "extended", "redesignated", "withdrawn"]

#: RFC 6749 recommends at most ten minutes; a browser needs a second.
CODE_LIFETIME: Final = timedelta(seconds=60)
MAX_STATE_CHARACTERS: Final = 4096
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)


class ConsentNotFound(NotFound):
    code = "consent_not_found"


class UnknownUser(Malformed):
    """The tenant has no user to designate under this address or id."""

    code = "unknown_user"


class UnregisteredRedirect(Malformed):
    """The address is not registered for the client: nobody is sent there, not even with an error."""

    code = "unregistered_redirect_uri"


class InvalidGrant(NotFound):
    """A refused code: unknown, late, used, another client's or another request's."""

    code = "invalid_grant"


class RefusedAuthorization(Malformed):
    """A malformed request of the third party, which gets the error at its redirect address (RFC 6749, 4.1.2.1)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The checked request of a third party's link to the set-up page."""

    redirect_uri: str
    scopes: tuple[str, ...]
    #: The PKCE challenge (S256); None if the link has none.
    code_challenge: str | None
    state: str | None


@dataclass(frozen=True, slots=True)
class Consent:
    """One version of a tenant's consent to a client. `scopes` are all that hold from here on; without any, it is
    withdrawn.

    `words` are the texts that the admin read, by scope, in `language`.
    """

    tenant: str
    client_id: str
    version: int
    event: Event
    subject: str
    scopes: tuple[str, ...]
    words: Mapping[str, str]
    language: str
    actor: Actor
    recorded_at: datetime

    @property
    def holds(self) -> bool:
        return self.event != "withdrawn"


class PresentConsent(NamedTuple):
    """A consent that holds. `since_version` is the version with which it began."""

    tenant: str
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    version: int
    since_version: int


@dataclass(frozen=True, slots=True)
class Next:
    """The next version to write."""

    version: int
    event: Event
    subject: str
    scopes: tuple[str, ...]
    words: Mapping[str, str]
    language: str


@dataclass(frozen=True, slots=True)
class Code:
    """A stored authorization code."""

    redirect_uri: str
    code_challenge: str | None
    scopes: tuple[str, ...]
    consent_version: int
    expires_at: datetime
    redeemed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The grant of a redeemed code."""

    tenant: str
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    consent_version: int


def redirect_of(client: Client, redirect_uri: str | None) -> str:
    """The redirect address, which is registered; a loopback address with any port (RFC 8252, 7.3).

    Raises:
        UnregisteredRedirect: it is not, or it is missing.
    """
    registered = client.registration.redirect_uris
    if redirect_uri is None or not any(is_registered(redirect_uri, known) for known in registered):
        raise UnregisteredRedirect("This address to go back to is not registered for the integration.")
    return redirect_uri


def is_state(state: str) -> bool:
    """Whether a state can come back exactly as it was sent."""
    return len(state) <= MAX_STATE_CHARACTERS and state.isprintable()


def asked_of(client: Client, query: Mapping[str, str]) -> Asked:
    """The request of a link. Without `scope` it asks for all registered scopes.

    PKCE may be left out, since redeeming a code needs the client's own credentials. Half of it, or the method `plain`,
    is refused.

    Raises:
        UnregisteredRedirect: nobody may be sent to that address.
        RefusedAuthorization: its code goes to the third party as `error`.
    """
    redirect_uri = redirect_of(client, query.get("redirect_uri"))
    if query.get("response_type", "code") != "code":
        raise RefusedAuthorization("Only the response type code is known.", code="unsupported_response_type")
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method")
    is_whole = method == "S256" and challenge is not None and _CHALLENGE.fullmatch(challenge)
    if not is_whole and (challenge, method) != (None, None):
        raise RefusedAuthorization("PKCE goes by a code_challenge with the method S256.", code="invalid_request")
    state = query.get("state")
    if state is not None and not is_state(state):
        raise RefusedAuthorization(
            f"state has at most {MAX_STATE_CHARACTERS} printable characters.", code="invalid_request"
        )
    registered = client.registration.scopes
    wanted = frozenset(query.get("scope", "").split()) or frozenset(registered)
    if not wanted or not wanted <= frozenset(registered):
        raise RefusedAuthorization("A scope is not registered for this client.", code="invalid_scope")
    return Asked(redirect_uri, in_order(wanted), challenge, state)


def next_consent(
    present: Consent | None, asked: Iterable[str], subject: str, words: Mapping[str, str], language: str
) -> Next | None:
    """The version to write for an admin's consent; None if all of it holds already.

    Consent to more scopes keeps the others with the words of their time.
    """
    holding = present.scopes if present is not None and present.holds else ()
    scopes = in_order((*holding, *asked))
    version = present.version + 1 if present is not None else 1
    if present is None or not present.holds:
        return Next(version, "granted", subject, scopes, {s: words[s] for s in scopes}, language)
    if set(scopes) != set(holding):
        read = {scope: present.words[scope] if scope in holding else words[scope] for scope in scopes}
        return Next(version, "extended", subject, scopes, read, language)
    return redesignated(present, subject)


def redesignated(present: Consent, subject: str) -> Next | None:
    """The next version with another designated user; None if the user is the present one."""
    if subject == present.subject:
        return None
    return Next(present.version + 1, "redesignated", subject, present.scopes, dict(present.words), present.language)


def withdrawn(present: Consent) -> Next:
    return Next(present.version + 1, "withdrawn", present.subject, (), {}, present.language)


def new_code() -> tuple[str, bytes]:
    """A code of 256 random bits, and its stored hash."""
    code = secrets.token_urlsafe(32)
    return code, hash_of(code)


def hash_of(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()


def redeem(
    code: Code,
    *,
    redirect_uri: str,
    code_verifier: str | None,
    consent: Consent | None,
    since_version: int,
    now: datetime,
) -> Sequence[str]:
    """The scopes that a code gives, without those withdrawn since.

    Args:
        since_version: the version with which the present consent began. An older code ended with a withdrawal.

    Raises:
        InvalidGrant: `replayed` if the code was redeemed before, so that the issuer can revoke its token.
    """
    refusal = InvalidGrant("The code is not valid.")
    if code.redeemed_at is not None:
        raise InvalidGrant("The code was redeemed before.", replayed=True, consent_version=code.consent_version)
    if code.expires_at <= now or code.redirect_uri != redirect_uri or not _fits(code.code_challenge, code_verifier):
        raise refusal
    if consent is None or not consent.holds or code.consent_version < since_version:
        raise refusal
    scopes = [scope for scope in code.scopes if scope in consent.scopes]
    if not scopes:
        raise refusal
    return scopes


def in_order(scopes: Iterable[str]) -> tuple[str, ...]:
    """Each scope once, in the usual order."""
    wanted = set(scopes)
    return tuple(scope for scope in SCOPES if scope in wanted)


def _fits(challenge: str | None, verifier: str | None) -> bool:
    """Whether the verifier matches (RFC 7636, 4.6). Without a challenge there must be no verifier: somebody removed the
    challenge from the link (RFC 9700, 4.8.2)."""
    if challenge is None or verifier is None:
        return challenge is None and verifier is None
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())
