"""What is known of access tokens, and the keys that sign them. What waits together is read together."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from shared.db import Database
from shared.group_commit import GroupCommit
from shared.jwt import VerificationKey

from shared import jwt
from sso_issuer.authority import store
from sso_issuer.authority.domain import IssuedToken
from sso_issuer.keys.store import SealedKey, read_publics


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a token says of itself, of which nothing is verified yet."""

    tenant: str
    kid: str | None
    jti: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says of a token at one moment.

    Attributes:
        key: the key pair that the token names, if tokens under it may still be good.
        issued: the token of the audit with the `jti` that this one names.
    """

    key: VerificationKey | None
    issued: IssuedToken | None
    read_at: datetime


@dataclass(frozen=True, slots=True)
class SigningTerms:
    """The key that signs now, if there is one yet, at a moment of the database's clock."""

    key: SealedKey | None
    read_at: datetime


class AccessTokensReader:
    """Reads what is known of access tokens, and what signs new ones."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens = GroupCommit[_Shown, Known](self._read_known, name="access_tokens")
        self._terms = GroupCommit[str, SigningTerms](self._read_terms, name="signing_terms")

    async def read(self, tenant: str, token: str) -> Known:
        """What is known of a token that was brought to the authority of `tenant`.

        Raises:
            Rejected: this is no token.
            Unavailable: the database cannot be asked.
        """
        kid, claims = jwt.unverified_header(token).get("kid"), jwt.unverified_claims(token)
        return await self._tokens.submit(_Shown(tenant, _name_in(kid), _name_in(claims.get("jti"))))

    async def signing_terms(self, tenant: str) -> SigningTerms:
        """What signs the tenant's access tokens at this moment.

        Raises:
            Unavailable: the database cannot be asked.
        """
        return await self._terms.submit(tenant)

    async def close(self) -> None:
        """Reads what waits in line, and takes no more."""
        await self._tokens.close()
        await self._terms.close()

    async def _read_known(self, tokens: Sequence[_Shown]) -> Sequence[Known]:
        kids = list(dict.fromkeys((token.tenant, token.kid) for token in tokens if token.kid is not None))
        jtis = list(dict.fromkeys((token.tenant, token.jti) for token in tokens if token.jti is not None))
        async with self._database.raw_statement() as connection:
            keys = await read_publics(connection, kids) if kids else {}
            issued = await store.find_all_issued(connection, jtis) if jtis else {}
            now = await store.read_driver_clock(connection)
        return [
            Known(
                key=None if token.kid is None else _key_of(keys.get((token.tenant, token.kid))),
                issued=None if token.jti is None else issued.get((token.tenant, token.jti)),
                read_at=now,
            )
            for token in tokens
        ]

    async def _read_terms(self, tenants: Sequence[str]) -> Sequence[SigningTerms]:
        async with self._database.raw_statement() as connection:
            found, now = await store.read_signing_keys(connection, list(dict.fromkeys(tenants)))
        return [SigningTerms(found.get(tenant), now) for tenant in tenants]


def _name_in(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isascii() and value.isprintable() else None


@functools.lru_cache(maxsize=1000)
def _key_of(public_jwk: str | None) -> VerificationKey | None:
    return None if public_jwk is None else VerificationKey.from_jwk(orjson.loads(public_jwk))
