"""The use cases of receipts: sign one, publish their keys, rotate them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.acts import Act, note
from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Unavailable
from shared.jwt import SigningKey
from shared.sealing import Sealer

from sso_issuer import contexts, signer
from sso_issuer.keys.domain import Algorithm, issuer_of
from sso_issuer.keys.material import KeyPair, generate, load_private
from sso_issuer.keys.published import KeySetDocument, PublishedKeys, TenantNotFound
from sso_issuer.receipts import store
from sso_issuer.receipts.domain import TYP, ReceiptKey, ReceiptKeyNotFound, check_public, claims_of
from sso_issuer.tables import acts

_KEPT_UNSEALED: Final = 1000


class _Overtaken(Exception):
    """Another process has made the tenant's first key."""


class Receipts:
    """One in a process. Which key signs is read each time, so that a rotation by another process counts at once."""

    def __init__(self, database: Database, sealer: Sealer, *, public_url: str) -> None:
        self._database = database
        self._sealer = sealer
        self._public_url = public_url
        self._published = PublishedKeys(database, store.read_published)
        self._unsealed: Bounded[tuple[str, str], SigningKey] = Bounded(_KEPT_UNSEALED)

    async def sign(self, tenant: str, facts: Mapping[str, Any]) -> str:
        """The receipt of these facts, a compact JWS.

        Raises:
            Unavailable: the database cannot be asked.
        """
        found = await self._read_signer(tenant)
        place = (tenant, found.kid)
        key = self._unsealed.get(place)
        if key is None:
            private = load_private(self._sealer.open(found.sealed, contexts.receipt_key(tenant, found.kid)))
            key = signer.of_private_key(found.kid, Algorithm.ES256, private)
            self._unsealed.keep(place, key)
        # ES256 signs in less time than a thread's handover takes.
        return key.sign(claims_of(issuer_of(self._public_url, tenant), facts, found.now), TYP)

    async def document(self, tenant: str) -> KeySetDocument:
        """The public halves of all keys that ever signed a tenant's receipts. The first key is made on demand, so that
        it is published before it signs.

        Raises:
            Unavailable: the database cannot be asked.
        """
        try:
            return await self._published.document(tenant)
        except TenantNotFound:
            await self._read_signer(tenant)
            return await self._published.document(tenant)

    async def rotate(self, tenant: str, *, leaked: str | None = None) -> str:
        """Signs with a new key from now on; the former private half is deleted, its public half stays. The new kid.

        Nobody has to wait for the new key to be published: who meets an unknown kid fetches the set again.

        Args:
            leaked: the kid of a key whose private half has leaked; the key set says so from now on.

        Raises:
            ReceiptKeyNotFound: the tenant has no key `leaked`.
        """
        if leaked is None:
            await self._read_signer(tenant)
        pair = await asyncio.to_thread(generate, Algorithm.ES256)
        async with self._database.transaction() as connection:
            former = await store.lock_signer(connection, tenant)
            if leaked is not None:
                if not await store.has_key(connection, tenant, leaked):
                    raise ReceiptKeyNotFound(leaked)
                await store.mark_leaked(connection, tenant, leaked)
            await store.add_key(connection, tenant, pair)
            await store.replace_signer(connection, tenant, pair.kid, self._seal(tenant, pair))
            details = {"leaked": leaked}
            act = Act(tenant, None, "receipt_keys_rotated", pair.kid, {"signs": former}, {"signs": pair.kid}, details)
            await note(connection, acts, act, await store.read_clock(connection))
        self._published.forget(tenant)
        return pair.kid

    async def take_back(self, tenant: str, jwks: Sequence[Mapping[str, Any]]) -> int:
        """Publishes keys of a saved key set that a restored database lacks, and what the set says of leaks. How many
        keys were missing.

        Raises:
            UnusableKey: one is no public key for ES256, or its kid is not its thumbprint. Nothing was changed.
        """
        for jwk in jwks:
            check_public(jwk)
        async with self._database.transaction() as connection:
            missing = [jwk["kid"] for jwk in jwks if await store.take_back(connection, tenant, jwk)]
            revoked = [jwk["kid"] for jwk in jwks if "revoked" in jwk]
            leaked = [kid for kid in revoked if await store.mark_leaked(connection, tenant, kid)]
            if missing or leaked:
                after = {"published": missing, "leaked": leaked}
                act = Act(tenant, None, "receipt_keys_taken_back", tenant, None, after)
                await note(connection, acts, act, await store.read_clock(connection))
        self._published.forget(tenant)
        return len(missing)

    async def history(self, tenant: str | None) -> Sequence[ReceiptKey]:
        """The keys of a tenant, or of all, the oldest first."""
        async with self._database.transaction() as connection:
            return await store.list_keys(connection, tenant)

    async def _read_signer(self, tenant: str) -> store.Signer:
        for _ in range(2):
            async with self._database.transaction() as connection:
                found = await store.read_signer(connection, tenant)
            if found is not None:
                return found
            await self._make_first(tenant)
        raise Unavailable(log=f"no receipt key of {tenant} although one was made")

    async def _make_first(self, tenant: str) -> None:
        pair = await asyncio.to_thread(generate, Algorithm.ES256)
        try:
            async with self._database.transaction() as connection:
                await store.add_key(connection, tenant, pair)
                if not await store.put_first_signer(connection, tenant, pair.kid, self._seal(tenant, pair)):
                    raise _Overtaken
        except _Overtaken:
            return
        self._published.forget(tenant)

    def _seal(self, tenant: str, pair: KeyPair) -> bytes:
        return self._sealer.seal(pair.private_der, contexts.receipt_key(tenant, pair.kid))
