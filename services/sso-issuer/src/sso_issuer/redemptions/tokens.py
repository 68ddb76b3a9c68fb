"""What is known of the tokens that vendors bring back."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from shared.db import Database
from shared.identifiers import is_identifier
from shared.jwt import Parts, Rejected, VerificationKey

from shared import jwt
from sso_issuer.redemptions import store
from sso_issuer.redemptions.store import KnownToken, TokenNames
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import read_secrets
from sso_issuer.vendors.domain import Secret, Vendor, VendorAlgorithm, VendorNotFound


@dataclass(frozen=True, slots=True)
class Shown:
    """A token as a vendor shows it, of which nothing is verified yet.

    Attributes:
        parts: None of a text that is no token.
    """

    names: TokenNames
    parts: Parts | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the database says of a token at one moment.

    Attributes:
        parts: of the token, of which nothing is verified; None of a text that is none.
        issuance: the one for this vendor that the token names.
        key: the key pair that the token names, if tokens under it may still be good.
        secrets: the vendor's, if the token needs one.
    """

    parts: Parts | None
    vendor: Vendor
    issuance: ListedIssuance | None
    key: VerificationKey | None
    secrets: Sequence[Secret]
    read_at: datetime

    @property
    def algorithm(self) -> VendorAlgorithm:
        """As agreed when the token was issued, even if something else is agreed since."""
        return _algorithm_of(self.vendor, self.issuance)

    @property
    def audience(self) -> str:
        """As agreed when the token was issued, even if something else is agreed since."""
        agreed = self.vendor.agreement.audience
        return agreed if self.issuance is None else self.issuance.audience or agreed


def shown(tenant: str, vendor_id: str, token: str) -> Shown:
    """A token and what it says of itself."""
    try:
        parts = jwt.take_apart(token)
    except Rejected:
        return Shown((tenant, vendor_id, None, None))
    return Shown((tenant, vendor_id, _named(parts.claims.get("jti")), _named(parts.header.get("kid"))), parts)


class TokensReader:
    """Reads what is known of tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_all(self, tokens: Sequence[Shown]) -> list[Known | VendorNotFound]:
        """What is known of each, or that the tenant has no such vendor. Driver errors pass unchanged."""
        async with self._database.raw_statement() as connection:
            found = await store.read_tokens(connection, list({token.names for token in tokens}))
            sharing = {
                names[:2]
                for names, one in found.items()
                if _algorithm_of(one.vendor, one.issuance) is VendorAlgorithm.HS256
            }
            secrets = await read_secrets(connection, sorted(sharing)) if sharing else {}
        return [_known(token, found.get(token.names), secrets.get(token.names[:2], ())) for token in tokens]


def _known(token: Shown, found: KnownToken | None, secrets: Sequence[Secret]) -> Known | VendorNotFound:
    if found is None:
        return VendorNotFound()
    return Known(
        parts=token.parts,
        vendor=found.vendor,
        issuance=found.issuance,
        key=None if found.public_jwk is None else _key_of(found.public_jwk),
        secrets=secrets,
        read_at=found.read_at,
    )


def _algorithm_of(vendor: Vendor, issuance: ListedIssuance | None) -> VendorAlgorithm:
    return vendor.agreement.algorithm if issuance is None else VendorAlgorithm(issuance.algorithm)


@functools.lru_cache(maxsize=1000)
def _key_of(public_jwk: str) -> VerificationKey:
    return VerificationKey.from_jwk(orjson.loads(public_jwk))


def _named(value: Any) -> str | None:
    return value if isinstance(value, str) and is_identifier(value) else None
