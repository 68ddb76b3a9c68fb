"""The use cases: inspect a token without using it up, and make examples."""

import asyncio
from dataclasses import replace
from datetime import datetime

import asyncpg
import orjson
from shared.callers import Caller
from shared.db import Database, read_again
from shared.identifiers import is_identifier
from shared.jwt import Parts, Rejected, VerificationKey
from shared.sandboxes.service import Sandboxes

from shared import jwt
from sso_issuer.inspections import domain
from sso_issuer.inspections.domain import Inspection, Known, NamedKey
from sso_issuer.inspections.examples import Example, examples_of
from sso_issuer.keys.domain import KeyState, issuer_of
from sso_issuer.keys.store import read_any_public, read_driver_clock
from sso_issuer.redirects.domain import ListedIssuance
from sso_issuer.redirects.store import find_all, read_secrets, read_terms
from sso_issuer.redirects.terms import Terms, TermsReader
from sso_issuer.vendors.domain import Vendor, VendorNotFound, is_live
from sso_issuer.vendors.service import Vendors
from sso_issuer.vendors.store import find_by_audience


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
        vendor, known = await read_again(lambda: self._look_up(caller, parts, any_vendor=any_vendor))
        if vendor is None and not any_vendor:
            raise VendorNotFound
        if parts is None or known is None:
            return domain.malformed("its three parts cannot be read")
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

    async def _look_up(
        self, caller: Caller, parts: Parts | None, *, any_vendor: bool
    ) -> tuple[Vendor | None, Known | None]:
        """The vendor, and what is known of a token that can be read. Driver errors pass unchanged."""
        async with self._database.raw_statement() as connection:
            vendor = await self._vendor_of(connection, caller, parts, any_vendor=any_vendor)
            if parts is None or (vendor is None and not any_vendor):
                return vendor, None
            now = await read_driver_clock(connection)
            known = await self._known(connection, caller.tenant, vendor, parts, now)
        if known.issuance is None or caller.tenant not in self._sandboxes:
            return vendor, known
        async with self._database.transaction() as transaction:
            ahead = await self._sandboxes.ahead_since(transaction, caller.tenant, known.issuance.issued_at)
        return vendor, replace(known, now=known.now + ahead)

    async def _vendor_of(
        self, connection: asyncpg.Connection, caller: Caller, parts: Parts | None, *, any_vendor: bool
    ) -> Vendor | None:
        if not any_vendor:
            return await _vendor(connection, caller.tenant, caller.vendor)
        if parts is None:
            return None
        jti = parts.claims.get("jti")
        if isinstance(jti, str) and is_identifier(jti):
            issuance = await _issuance(connection, caller.tenant, jti)
            if issuance is not None:
                return await _vendor(connection, caller.tenant, issuance.vendor_id)
        audience = parts.claims.get("aud")
        if not isinstance(audience, str) or not is_identifier(audience):
            return None
        return await find_by_audience(connection, caller.tenant, audience)

    async def _known(
        self, connection: asyncpg.Connection, tenant: str, vendor: Vendor | None, parts: Parts, now: datetime
    ) -> Known:
        issuer = issuer_of(self._public_url, tenant)
        key = await self._named_key(connection, tenant, vendor, parts, now)
        if vendor is None:
            algorithm = key.key.algorithm if key is not None else "ES256"
            audience = "that of one of the tenant's vendors"
            return Known(key=key, algorithm=algorithm, issuer=issuer, audience=audience, issuance=None, now=now)
        agreement, issuance = vendor.agreement, await self._issuance_for(connection, vendor, parts)
        if issuance is None:
            algorithm, audience = agreement.algorithm.value, agreement.audience
        else:
            # As agreed when it was issued.
            algorithm, audience = issuance.algorithm, issuance.audience or agreement.audience
        return Known(key=key, algorithm=algorithm, issuer=issuer, audience=audience, issuance=issuance, now=now)

    async def _issuance_for(
        self, connection: asyncpg.Connection, vendor: Vendor, parts: Parts
    ) -> ListedIssuance | None:
        jti = parts.claims.get("jti")
        if not isinstance(jti, str) or not is_identifier(jti):
            return None
        issuance = await _issuance(connection, vendor.tenant, jti)
        return issuance if issuance is not None and issuance.vendor_id == vendor.vendor_id else None

    async def _named_key(
        self, connection: asyncpg.Connection, tenant: str, vendor: Vendor | None, parts: Parts, now: datetime
    ) -> NamedKey | None:
        kid = parts.header.get("kid")
        if not isinstance(kid, str) or not is_identifier(kid):
            return None
        if vendor is not None:
            place = vendor.tenant, vendor.vendor_id
            for secret in (await read_secrets(connection, [place]))[place]:
                if secret.kid == kid:
                    key = VerificationKey.from_secret(kid, self._vendors.unseal(vendor, secret))
                    return NamedKey(key=key, is_retired=not is_live(secret, now))
        found = await read_any_public(connection, tenant, kid)
        if found is None or found[1] is KeyState.NEXT:
            return None
        return NamedKey(key=VerificationKey.from_jwk(orjson.loads(found[0])), is_retired=found[1] is KeyState.RETIRED)


async def _vendor(connection: asyncpg.Connection, tenant: str, vendor_id: str) -> Vendor | None:
    found = (await read_terms(connection, [(tenant, vendor_id)])).get((tenant, vendor_id))
    return None if found is None else found.vendor


async def _issuance(connection: asyncpg.Connection, tenant: str, jti: str) -> ListedIssuance | None:
    return (await find_all(connection, [(tenant, jti)])).get((tenant, jti))
