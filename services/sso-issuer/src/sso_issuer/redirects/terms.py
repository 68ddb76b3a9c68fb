"""The terms of a token: the vendor, what is agreed with it, and the key that signs now."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.db import Database
from shared.errors import Refusal
from shared.group_commit import GroupCommit
from shared.jwt import SigningKey

from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys
from sso_issuer.keys.store import SealedKey
from sso_issuer.redirects import store
from sso_issuer.signer import of_secret
from sso_issuer.vendors.domain import (
    Secret,
    Vendor,
    VendorAlgorithm,
    VendorNotFound,
    VendorWithoutSecret,
    signing_secret,
)
from sso_issuer.vendors.service import Vendors


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The vendor and the signing key at one instant of the database's clock."""

    vendor: Vendor
    key: SealedKey | Secret | None
    read_at: datetime
    #: The monotonic clock of the process at `read_at`.
    mark: float

    def now(self) -> datetime:
        """The database's clock, computed from the monotonic one."""
        return self.read_at + timedelta(seconds=time.monotonic() - self.mark)


class TermsReader:
    """Reads terms, and makes their keys ready to sign."""

    def __init__(self, database: Database, keys: Keys, vendors: Vendors) -> None:
        self._database = database
        self._keys = keys
        self._vendors = vendors
        self._line = GroupCommit[tuple[str, str], Terms](
            self.read_all, name="terms", tenant_of=lambda asked: asked[0], is_of_one_tenant=database.is_distributed
        )

    async def read(self, tenant: str, vendor_id: str) -> Terms:
        """The terms of this moment. What waits together is read together.

        Raises:
            VendorNotFound, VendorWithoutSecret: as they say.
            Unavailable: the database cannot be asked.
        """
        return await self._line.submit((tenant, vendor_id))

    async def close(self) -> None:
        """Reads what waits in line, and takes no more."""
        await self._line.close()

    async def read_all(self, asked: Sequence[tuple[str, str]]) -> list[Terms | Refusal]:
        """The terms of many vendors by tenant and vendor id, or a refusal of its own for each. Driver errors pass."""
        places = list(dict.fromkeys(asked))
        async with self._database.raw_statement() as connection:
            found = await store.read_terms(connection, places)
            mark = time.monotonic()
            shared = [place for place, one in found.items() if one.vendor.agreement.algorithm is VendorAlgorithm.HS256]
            secrets = await store.read_secrets(connection, shared) if shared else {}
        return [_terms_of(found.get(place), secrets.get(place), mark) for place in asked]

    async def signing_key(self, terms: Terms) -> SigningKey:
        """The key, unsealed. A vendor's first key pair is made when it is needed."""
        if isinstance(terms.key, Secret):
            return of_secret(terms.key.kid, self._vendors.unseal(terms.vendor, terms.key))
        if isinstance(terms.key, SealedKey):
            return await self._keys.unseal(terms.key)
        return await self._keys.signing_key(terms.vendor.tenant, Algorithm(terms.vendor.agreement.algorithm.value))


def _terms_of(found: store.VendorTerms | None, secrets: list[Secret] | None, mark: float) -> Terms | Refusal:
    """The terms, or a refusal of its own for each that asked."""
    if found is None:
        return VendorNotFound()
    key: SealedKey | Secret | None = found.key
    if secrets is not None:
        try:
            key = signing_secret(secrets, found.read_at)
        except VendorWithoutSecret as refusal:
            return refusal
    return Terms(vendor=found.vendor, key=key, read_at=found.read_at, mark=mark)
