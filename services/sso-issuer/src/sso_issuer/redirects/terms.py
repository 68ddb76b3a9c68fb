"""The terms of a token: the vendor, what is agreed with it, and the key that signs now."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.db import Database
from shared.jwt import SigningKey

from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.service import Keys
from sso_issuer.keys.store import SealedKey
from sso_issuer.redirects import store
from sso_issuer.signer import of_secret
from sso_issuer.vendors.domain import Secret, Vendor, VendorAlgorithm, signing_secret
from sso_issuer.vendors.service import Vendors
from sso_issuer.vendors.store import read_secrets


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

    async def read(self, tenant: str, vendor_id: str) -> Terms:
        """The terms of this moment.

        Raises:
            VendorNotFound, VendorWithoutSecret: as they say.
            Unavailable: the database cannot be asked.
        """
        key: SealedKey | Secret | None
        async with self._database.transaction() as connection:
            vendor, key, now = await store.read_terms(connection, tenant, vendor_id)
            mark = time.monotonic()
            if vendor.agreement.algorithm is VendorAlgorithm.HS256:
                key = signing_secret(await read_secrets(connection, tenant, vendor_id), now)
        return Terms(vendor=vendor, key=key, read_at=now, mark=mark)

    async def signing_key(self, terms: Terms) -> SigningKey:
        """The key, unsealed. A vendor's first key pair is made when it is needed."""
        if isinstance(terms.key, Secret):
            return of_secret(terms.key.kid, self._vendors.unseal(terms.vendor, terms.key))
        if isinstance(terms.key, SealedKey):
            return await self._keys.unseal(terms.key)
        return await self._keys.signing_key(terms.vendor.tenant, Algorithm(terms.vendor.agreement.algorithm.value))
