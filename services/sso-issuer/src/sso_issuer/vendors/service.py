"""The use cases of vendors: put, read, list, and add a secret."""

import secrets as random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.acts import Act, note
from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Malformed, PreconditionFailed
from shared.idempotency import Answer, Answers, RequestKey
from shared.paging import Page
from shared.preconditions import ANY_STATE, Precondition
from shared.sealing import Sealer
from shared.times import iso
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer import contexts
from sso_issuer.keys.domain import Algorithm, issuer_of
from sso_issuer.keys.service import Keys
from sso_issuer.keys.store import read_clock
from sso_issuer.tables import acts
from sso_issuer.vendors import domain, store
from sso_issuer.vendors.domain import VENDORS, Agreement, Secret, Vendor, VendorAlgorithm, VendorNotFound, VendorPlace

#: 256 random bits, as text that vendors paste into their libraries.
SECRET_BYTES = 32
KEPT_OPEN = 10_000


class OverlapTooShort(Malformed):
    code = "overlap_too_short"

    def __init__(self) -> None:
        super().__init__("The former secret must stay valid at least until the new one signs.")


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """A new secret, shown only this once."""

    vendor_id: str
    text: str
    secret: Secret
    former: Secret | None
    former_expires_at: datetime | None


class Vendors:
    """The tenants' vendors."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        sealer: Sealer,
        keys: Keys,
        *,
        public_url: str,
        plain_http_allowed: bool,
    ) -> None:
        self._database = database
        self._answers = answers
        self._sealer = sealer
        self._keys = keys
        self._public_url = public_url
        self._plain_http_allowed = plain_http_allowed
        self._open: Bounded[tuple[str, str], bytes] = Bounded(KEPT_OPEN)

    async def put(
        self,
        tenant: str,
        vendor_id: str,
        agreement: Agreement,
        condition: Precondition = ANY_STATE,
        *,
        client_id: str,
    ) -> tuple[Vendor, bool]:
        """Creates or replaces an agreement and publishes the key that it needs.

        Raises:
            InvalidRedirectUrl, AudienceReserved, AudienceTaken, PreconditionFailed: as they say.
        """
        domain.check_redirect_url(agreement.redirect_url, plain_http_allowed=self._plain_http_allowed)
        domain.check_audience(agreement.audience, self._public_url)
        if agreement.algorithm is not VendorAlgorithm.HS256:
            await self._keys.ensure(tenant, Algorithm(agreement.algorithm.value))
        try:
            async with self._database.transaction() as connection:
                present = await store.read_vendor(connection, tenant, vendor_id, lock=True)
                condition.check(None if present is None else present.agreement)
                vendor, is_new = await store.put_vendor(connection, tenant, vendor_id, agreement)
                if condition.is_new and not is_new:
                    # Another call has made it since this one looked.
                    raise PreconditionFailed("This exists already.")
                if present is None or present.agreement != agreement:
                    act = Act(tenant, client_id, "vendor_changed", vendor_id, *_changed(present, vendor))
                    await note(connection, acts, act, vendor.updated_at)
                return vendor, is_new
        except IntegrityError as error:
            if "vendors_audience_key" in str(error.orig):
                raise domain.AudienceTaken from None
            raise

    def issuer_of(self, tenant: str) -> str:
        """The `iss` of tokens for the tenant's vendors."""
        return issuer_of(self._public_url, tenant)

    async def find(self, tenant: str, vendor_id: str) -> Vendor:
        """Raises VendorNotFound, also for another tenant's vendor."""
        async with self._database.transaction() as connection:
            vendor = await store.read_vendor(connection, tenant, vendor_id)
        if vendor is None:
            raise VendorNotFound
        return vendor

    async def page(self, tenant: str, *, cursor: str | None = None, limit: int) -> Page[Vendor]:
        """The tenant's vendors in the order of their ids.

        Raises:
            InvalidCursor: as it says.
        """
        pages = VENDORS.of(tenant)
        after = pages.place(cursor)
        async with self._database.transaction() as connection:
            found = await store.list_vendors(connection, tenant, after=after, limit=limit + 1)
        return pages.cut(found, limit, lambda vendor: VendorPlace(vendor.vendor_id))

    async def shops(self, tenant: str, *, limit: int) -> list[Vendor]:
        """The vendors to which people can go: those of `page` without test clients, of which a sandbox has many."""
        async with self._database.transaction() as connection:
            return await store.list_shops(connection, tenant, limit=limit)

    async def add_secret_once(
        self,
        tenant: str,
        vendor_id: str,
        *,
        overlap: timedelta,
        signs_in: timedelta,
        end_former: bool,
        client_id: str,
        key: RequestKey | None,
        shape: Callable[[NewSecret], Answer],
    ) -> Answer:
        """A new HS256 secret; the former one stays good for `overlap`.

        Args:
            end_former: where two are live, end the older one now.
            signs_in: how long the former secret goes on signing, so that the vendor can install the new one.
            shape: makes the answer that is stored, sealed, for a repeated request.

        Raises:
            VendorNotFound: as it says.
            FormerSecretLive: two are live, and `end_former` was not asked for.
            OverlapTooShort: no secret would sign between the end of the former one and the start of the new one.
        """
        if signs_in > overlap:
            raise OverlapTooShort

        async def act(connection: AsyncConnection) -> Answer:
            return shape(
                await self._add_secret(
                    connection, tenant, vendor_id, overlap, signs_in, end_former=end_former, client_id=client_id
                )
            )

        return await self._answers.once(tenant, client_id, key, act)

    def unseal(self, vendor: Vendor, secret: Secret) -> bytes:
        """The bytes of a secret, for signing and verifying; kept in memory.

        Raises:
            shared.sealing.CannotOpen: the row was changed, or its key-encryption key is missing.
        """
        place = (vendor.tenant, secret.kid)
        found = self._open.get(place)
        if found is None:
            found = self._sealer.open(
                secret.sealed, contexts.vendor_secret(vendor.tenant, vendor.vendor_id, secret.kid)
            )
            self._open.keep(place, found)
        return found

    async def _add_secret(
        self,
        connection: AsyncConnection,
        tenant: str,
        vendor_id: str,
        overlap: timedelta,
        signs_in: timedelta,
        *,
        end_former: bool,
        client_id: str,
    ) -> NewSecret:
        vendor = await store.read_vendor(connection, tenant, vendor_id, lock=True)
        if vendor is None:
            raise VendorNotFound
        now = await read_clock(connection)
        present = await store.read_secrets(connection, tenant, vendor_id)
        live = domain.former_live(present, now)
        if live is not None and live.expires_at is not None and not end_former:
            raise domain.FormerSecretLive(iso(live.expires_at))
        former = present[-1] if present else None
        text = random.token_urlsafe(SECRET_BYTES)
        kid = random.token_urlsafe(16)
        secret = Secret(
            n=former.n + 1 if former is not None else 1,
            kid=kid,
            sealed=self._sealer.seal(text.encode(), contexts.vendor_secret(tenant, vendor_id, kid)),
            created_at=now,
            # Before the first secret there is none that could sign meanwhile.
            signs_from=now + signs_in if former is not None else now,
            expires_at=None,
        )
        await store.add_secret(connection, tenant, vendor_id, secret, former_expires_at=now + overlap)
        were = {"live_secrets": [one.kid for one in present if domain.is_live(one, now)]}
        ended = {former.kid} if former is not None and not overlap else set()
        # The slot of the last but one is the new one's.
        stay = [one.kid for one in present[-1:] if domain.is_live(one, now) and one.kid not in ended]
        details = {"vendor": vendor.agreement.name, "overlap_seconds": int(overlap.total_seconds())}
        now_live = {"live_secrets": [*stay, kid]}
        await note(
            connection, acts, Act(tenant, client_id, "vendor_secret_added", vendor_id, were, now_live, details), now
        )
        return NewSecret(
            vendor_id=vendor_id,
            text=text,
            secret=secret,
            former=former,
            former_expires_at=now + overlap if former is not None else None,
        )


def _changed(before: Vendor | None, after: Vendor) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The agreement before and after, as the audit keeps it."""
    return (None if before is None else asdict(before.agreement)), asdict(after.agreement)
