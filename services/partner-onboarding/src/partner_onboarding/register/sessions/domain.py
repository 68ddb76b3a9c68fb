"""What a session is, and what its cookie looks like."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from shared.errors import Forbidden, NotFound

_COOKIE = re.compile(r"([a-z0-9][a-z0-9-]{0,39})\.([A-Za-z0-9_-]{43})", re.ASCII)


class NoSession(NotFound):
    code = "no_session"


class NotOperator(Forbidden):
    code = "not_operator"


class NotTenantAdmin(Forbidden):
    code = "not_tenant_admin"


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How long a browser stays signed in."""

    idle: timedelta
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What a session is found by. The tenant stands in the cookie, so that it leads the key in the table."""

    tenant: str
    session_hash: bytes


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Whose session it is."""

    tenant: str
    user_id: str
    roles: tuple[str, ...]
    allowed_origins: tuple[str, ...]


def new_cookie(tenant: str) -> tuple[str, SessionKey]:
    """The value of a new session's cookie, the tenant and 256 random bits, and what the session is found by."""
    random = secrets.token_urlsafe(32)
    return f"{tenant}.{random}", SessionKey(tenant, _hash(random))


def key_of(cookie: str) -> SessionKey | None:
    """What a session of this cookie is found by; None for a value that was never given out.

    A plain SHA-256 suffices: 256 random bits cannot be guessed, and the database alone cannot be turned into a
    cookie.
    """
    parts = _COOKIE.fullmatch(cookie)
    if parts is None:
        return None
    return SessionKey(parts[1], _hash(parts[2]))


def _hash(random: str) -> bytes:
    return hashlib.sha256(random.encode()).digest()
