"""What is known of access tokens, and the keys that sign them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from shared.db import Database
from shared.jwt import Parts, Rejected, VerificationKey

from shared import jwt
from sso_issuer.authority import store
from sso_issuer.authority.domain import IssuedToken
from sso_issuer.authority.store import TokenNames
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.store import SealedKey


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a token says of itself, of which nothing is verified yet."""

    names: TokenNames
    parts: Parts


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says of a token at one moment.

    Attributes:
        parts: the token, of which nothing is verified.
        key: the key pair that the token names, if tokens under it may still be good.
        issued: the token of the audit with the `jti` that this one names.
    """

    parts: Parts
    key: VerificationKey | None
    issued: IssuedToken | None
    read_at: datetime


@dataclass(frozen=True, slots=True)
class SigningTerms:
    """The key that signs now, if there is one yet, at a moment of the database's clock."""

    key: SealedKey | None
    read_at: datetime


class AccessTokensReader:
    """Reads what is known of access tokens, and what signs new ones. Driver errors pass unchanged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Whether what is read at once must be of one tenant.
        self.is_of_one_tenant = database.is_distributed

    async def read_all(self, tokens: Sequence[tuple[str, str]]) -> list[Known | Rejected]:
        """What is known of tokens, each brought to the authority of a tenant; a refusal of what is no token."""
        shown = [_shown_by(tenant, token) for tenant, token in tokens]
        names = {one.names for one in shown if isinstance(one, _Shown)}
        if not names:
            return [one for one in shown if isinstance(one, Rejected)]
        async with self._database.raw_statement() as connection:
            found, now = await store.read_tokens(connection, list(names))
        return [_known(one, *found[one.names], now) if isinstance(one, _Shown) else one for one in shown]

    async def signing_terms(self, tenants: Sequence[str], algorithm: Algorithm) -> list[SigningTerms]:
        """What signs each tenant's access tokens at this moment."""
        async with self._database.raw_statement() as connection:
            found, now = await store.read_signing_keys(connection, list(dict.fromkeys(tenants)), algorithm)
        return [SigningTerms(found.get(tenant), now) for tenant in tenants]


def _shown_by(tenant: str, token: str) -> _Shown | Rejected:
    try:
        parts = jwt.take_apart(token)
    except Rejected as rejected:
        return rejected
    return _Shown((tenant, _name_in(parts.claims.get("jti")), _name_in(parts.header.get("kid"))), parts)


def _known(shown: _Shown, issued: IssuedToken | None, public_jwk: str | None, now: datetime) -> Known:
    return Known(parts=shown.parts, key=_key_of(public_jwk), issued=issued, read_at=now)


def _name_in(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else None


@functools.lru_cache(maxsize=1000)
def _key_of(public_jwk: str | None) -> VerificationKey | None:
    return None if public_jwk is None else VerificationKey.from_jwk(orjson.loads(public_jwk))
