"""Sessions and their cookies."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import Forbidden, NotFound

from partner_onboarding.register.second_factors.domain import Awaits

_COOKIE = re.compile(r"([a-z0-9][a-z0-9-]{0,39})\.([A-Za-z0-9_-]{43})", re.ASCII)


class NoSession(NotFound):
    code = "no_session"


class NotOperator(Forbidden):
    code = "not_operator"


class NotTenantAdmin(Forbidden):
    code = "not_tenant_admin"


@dataclass(frozen=True, slots=True)
class SessionRules:
    """The lifetime of sessions."""

    idle: timedelta
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The key of a session. The tenant is part of the cookie, so that it leads the key of the table."""

    tenant: str
    session_hash: bytes


@dataclass(frozen=True, slots=True)
class HalfSignedIn:
    """Somebody who knows the password, and still owes what `awaits` says. It opens nothing but the page for that."""

    tenant: str
    user_id: str
    roles: tuple[str, ...]
    awaits: Awaits


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The person of a session."""

    tenant: str
    user_id: str
    roles: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    tenant_name: str


@dataclass(frozen=True, slots=True)
class OwnSession:
    """One of a person's browsers; `is_this` for the one that asks."""

    begun_at: datetime
    seen_at: datetime
    is_this: bool


def new_cookie(tenant: str) -> tuple[str, SessionKey]:
    """A new session's cookie (tenant and 256 random bits) and its key."""
    random = secrets.token_urlsafe(32)
    return f"{tenant}.{random}", SessionKey(tenant, _hash(random))


def key_of(cookie: str) -> SessionKey | None:
    """The key of a cookie's session; None if the cookie has another form.

    A plain SHA-256 suffices: nobody guesses 256 random bits, and a hash does not lead back to a cookie.
    """
    parts = _COOKIE.fullmatch(cookie)
    if parts is None:
        return None
    return SessionKey(parts[1], _hash(parts[2]))


def _hash(random: str) -> bytes:
    return hashlib.sha256(random.encode()).digest()
