"""The use cases: inspect a token without using it up, and make examples."""

import asyncio
from dataclasses import replace

from shared.callers import Caller
from shared.db import Database
from shared.identifiers import is_identifier
from shared.jwt import Parts, Rejected, VerificationKey
from shared.sandboxes.service import Sandboxes
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import jwt
from sso_issuer.inspections import domain
from sso_issuer.inspections.domain import Inspection, Known, NamedKey
from sso_issuer.inspections.examples import Example, examples_of
from sso_issuer.keys.domain import KeyState, issuer_of
from sso_issuer.keys.store import read_any_public, read_clock
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import find
from sso_issuer.redirects.terms import Terms, TermsReader
from sso_issuer.vendors.domain import Vendor, VendorNotFound, is_live
from sso_issuer.vendors.service import Vendors
from sso_issuer.vendors.store import find_by_audience, read_secrets, read_vendor


class Inspections:
    """Helps vendors to verify tokens."""

    def __init__(
        self, database: Database, vendors: Vendors, terms: TermsReader, sandboxes: Sandboxes, *, public_url: str
    ) -> None:
        self._database = database
        self._vendors = vendors
        self._terms = terms
        self._sandboxes = sandboxes
        self._public_url = public_url

    async def inspect(self, caller: Caller, token: str, *, any_vendor: bool) -> Inspection:
        """All that is wrong with a token. Nothing is used up.

        Args:
            any_vendor: the platform asks; the vendor is the one that the token names.

        Raises:
            VendorNotFound: the caller is no vendor of its tenant.
            Unavailable: the database cannot be asked.
        """
        try:
            parts = jwt.take_apart(token)
        except Rejected:
            parts = None
        async with self._database.transaction() as connection:
            vendor = await self._vendor_of(connection, caller, parts, any_vendor=any_vendor)
            if parts is None:
                return domain.malformed("its three parts cannot be read")
            known = await self._known(connection, caller.tenant, vendor, parts)
        return domain.inspect(token, parts, known)

    async def examples(self, tenant: str, vendor_id: str) -> list[Example]:
        """Fresh tokens of a user who does not exist: good ones, and bad ones of every kind.

        Raises:
            VendorNotFound, VendorWithoutSecret: as they say.
            Unavailable: the database cannot be asked.
        """
        terms: Terms = await self._terms.read(tenant, vendor_id)
        key = await self._terms.signing_key(terms)
        issuer = issuer_of(self._public_url, tenant)
        # In a thread: there are a dozen signatures, and RSA takes its time.
        return await asyncio.to_thread(examples_of, terms.vendor.agreement, key, issuer, terms.now())

    async def _vendor_of(
        self, connection: AsyncConnection, caller: Caller, parts: Parts | None, *, any_vendor: bool
    ) -> Vendor | None:
        if not any_vendor:
            vendor = await read_vendor(connection, caller.tenant, caller.vendor)
            if vendor is None:
                raise VendorNotFound
            return vendor
        if parts is None:
            return None
        jti = parts.claims.get("jti")
        if isinstance(jti, str) and is_identifier(jti):
            issuance = await find(connection, caller.tenant, jti)
            if issuance is not None:
                return await read_vendor(connection, caller.tenant, issuance.vendor_id)
        audience = parts.claims.get("aud")
        if not isinstance(audience, str) or not is_identifier(audience):
            return None
        return await find_by_audience(connection, caller.tenant, audience)

    async def _known(self, connection: AsyncConnection, tenant: str, vendor: Vendor | None, parts: Parts) -> Known:
        now = await read_clock(connection)
        issuer = issuer_of(self._public_url, tenant)
        if vendor is None:
            key = await self._named_key(connection, tenant, None, parts)
            algorithm = key.key.algorithm if key is not None else "ES256"
            audience = "that of one of the tenant's vendors"
            return Known(key=key, algorithm=algorithm, issuer=issuer, audience=audience, issuance=None, now=now)
        issuance = await self._issuance(connection, vendor, parts)
        known = Known(
            key=await self._named_key(connection, tenant, vendor, parts),
            algorithm=vendor.agreement.algorithm.value,
            issuer=issuer,
            audience=vendor.agreement.audience,
            issuance=issuance,
            now=now,
        )
        if issuance is None:
            return known
        now += await self._sandboxes.ahead_since(connection, tenant, issuance.issued_at)
        # As agreed when it was issued.
        return replace(known, algorithm=issuance.algorithm, audience=issuance.audience or known.audience, now=now)

    async def _issuance(self, connection: AsyncConnection, vendor: Vendor, parts: Parts) -> ListedIssuance | None:
        jti = parts.claims.get("jti")
        if not isinstance(jti, str) or not is_identifier(jti):
            return None
        issuance = await find(connection, vendor.tenant, jti)
        return issuance if issuance is not None and issuance.vendor_id == vendor.vendor_id else None

    async def _named_key(
        self, connection: AsyncConnection, tenant: str, vendor: Vendor | None, parts: Parts
    ) -> NamedKey | None:
        kid = parts.header.get("kid")
        if not isinstance(kid, str) or not is_identifier(kid):
            return None
        if vendor is not None:
            now = await read_clock(connection)
            for secret in await read_secrets(connection, tenant, vendor.vendor_id):
                if secret.kid == kid:
                    key = VerificationKey.from_secret(kid, self._vendors.unseal(vendor, secret))
                    return NamedKey(key=key, is_retired=not is_live(secret, now))
        found = await read_any_public(connection, tenant, kid)
        if found is None or found[1] is KeyState.NEXT:
            return None
        return NamedKey(key=VerificationKey.from_jwk(found[0]), is_retired=found[1] is KeyState.RETIRED)
