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
from sso_issuer.keys.store import read_publics
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import find_all, read_secrets, read_terms
from sso_issuer.vendors.domain import Secret, Vendor, VendorAlgorithm, VendorNotFound


@dataclass(frozen=True, slots=True)
class Shown:
    """A token as a vendor shows it, of which nothing is verified yet.

    Attributes:
        parts: None of a text that is no token.
    """

    tenant: str
    vendor_id: str
    parts: Parts | None = None
    jti: str | None = None
    kid: str | None = None


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
        return Shown(tenant, vendor_id)
    return Shown(tenant, vendor_id, parts, _named(parts.claims.get("jti")), _named(parts.header.get("kid")))


class TokensReader:
    """Reads what is known of tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_all(self, tokens: Sequence[Shown]) -> list[Known | VendorNotFound]:
        """What is known of each, or that the tenant has no such vendor. Driver errors pass unchanged."""
        places = list(dict.fromkeys((token.tenant, token.vendor_id) for token in tokens))
        jtis = list(dict.fromkeys((token.tenant, token.jti) for token in tokens if token.jti is not None))
        kids = list(dict.fromkeys((token.tenant, token.kid) for token in tokens if token.kid is not None))
        async with self._database.raw_statement() as connection:
            terms = await read_terms(connection, places)
            issuances = await find_all(connection, jtis) if jtis else {}
            keys = await read_publics(connection, kids) if kids else {}
            sharing = {
                (token.tenant, token.vendor_id)
                for token in tokens
                if (found := terms.get((token.tenant, token.vendor_id))) is not None
                and _algorithm_of(found.vendor, _own(issuances, token)) is VendorAlgorithm.HS256
            }
            secrets = await read_secrets(connection, sorted(sharing)) if sharing else {}
        known: list[Known | VendorNotFound] = []
        for token in tokens:
            place = token.tenant, token.vendor_id
            found = terms.get(place)
            if found is None:
                known.append(VendorNotFound())
                continue
            public = None if token.kid is None else keys.get((token.tenant, token.kid))
            known.append(
                Known(
                    parts=token.parts,
                    vendor=found.vendor,
                    issuance=_own(issuances, token),
                    key=None if public is None else _key_of(public),
                    secrets=secrets.get(place, ()),
                    read_at=found.read_at,
                )
            )
        return known


def _own(issuances: dict[tuple[str, str], ListedIssuance], token: Shown) -> ListedIssuance | None:
    issuance = None if token.jti is None else issuances.get((token.tenant, token.jti))
    return issuance if issuance is not None and issuance.vendor_id == token.vendor_id else None


def _algorithm_of(vendor: Vendor, issuance: ListedIssuance | None) -> VendorAlgorithm:
    return vendor.agreement.algorithm if issuance is None else VendorAlgorithm(issuance.algorithm)


@functools.lru_cache(maxsize=1000)
def _key_of(public_jwk: str) -> VerificationKey:
    return VerificationKey.from_jwk(orjson.loads(public_jwk))


def _named(value: Any) -> str | None:
    return value if isinstance(value, str) and is_identifier(value) else None
