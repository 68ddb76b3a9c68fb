"""The use cases of keys: create, rotate, and advance with time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Gauge
from shared.acts import Act, note
from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Malformed, Unavailable
from shared.events.outbox import record
from shared.idempotency import Answer, Answers, RequestKey
from shared.jwt import SigningKey
from shared.sealing import Sealer
from sqlalchemy.ext.asyncio import AsyncConnection

from sso_issuer import contexts, signer
from sso_issuer.events import key_rotated
from sso_issuer.keys import domain, store
from sso_issuer.keys.domain import Algorithm, Key, KeyState, Schedule
from sso_issuer.keys.material import KeyPair, generate, load_private
from sso_issuer.keys.published import PublishedKeys
from sso_issuer.keys.revoked import RevokedKeys
from sso_issuer.tables import acts
from sso_issuer.tables import events as events_tables

#: How many unsealed keys stay in memory; the least used leaves first.
KEPT_UNSEALED = 10_000

_log = structlog.get_logger("keys")
_age = Gauge(
    "issuer_signing_key_age_seconds",
    "How long the oldest of all tenants' signing keys has signed. Alarm when it passes the time of rotation.",
    ["algorithm"],
)

Decision = Callable[[Sequence[Key], Key, datetime], list[Key]]


class RevocationNotImmediate(Malformed):
    code = "revocation_not_immediate"

    def __init__(self) -> None:
        super().__init__("Former keys can only be revoked when the new one signs immediately.")


@dataclass(frozen=True, kw_only=True)
class RotationWish:
    """How to replace a tenant's keys.

    Attributes:
        algorithm: None for every algorithm that the tenant has keys for.
        immediately: sign with the new key at once; vendors must fetch the key set anew on an unknown `kid`.
        revoke_former: private keys have leaked, so that all former keys leave the set at once.
    """

    algorithm: Algorithm | None = None
    immediately: bool = False
    revoke_former: bool = False


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The result of a rotation."""

    #: The key that signs next, or signs already.
    successor: Key
    #: The former signing key, which leaves now or later; None if there was none.
    former: Key | None
    #: False if a successor was waiting already.
    is_new: bool


class Keys:
    """The tenants' keys. Which one signs is read from the database each time, so that a rotation by another
    replica counts at once; only the costly unsealing is remembered."""

    def __init__(
        self,
        database: Database,
        answers: Answers,
        sealer: Sealer,
        schedule: Schedule,
        published: PublishedKeys,
        revoked: RevokedKeys,
    ) -> None:
        self._database = database
        self._answers = answers
        self._sealer = sealer
        self._schedule = schedule
        self._published = published
        self._revoked = revoked
        self._unsealed: Bounded[tuple[str, str], SigningKey] = Bounded(KEPT_UNSEALED)

    async def ensure(self, tenant: str, algorithm: Algorithm) -> None:
        """Makes the tenant's first key of this algorithm if there is none. Several calls at once make one."""
        async with self._database.transaction() as connection:
            if await store.read_active(connection, tenant, algorithm) is not None:
                return
        pair = await _generate(algorithm)
        async with self._database.transaction() as connection:
            await self._change(connection, tenant, pair, self._first)
        self._published.forget(tenant)

    async def signing_key(self, tenant: str, algorithm: Algorithm) -> SigningKey:
        """The present signing key, ready for use. The tenant's first one is made on demand."""
        for _ in range(2):
            async with self._database.transaction() as connection:
                sealed = await store.read_active(connection, tenant, algorithm)
            if sealed is not None:
                return await self.unseal(sealed)
            await self.ensure(tenant, algorithm)
        raise Unavailable(log=f"no active {algorithm} key of {tenant} although one was made")

    async def unseal(self, sealed: store.SealedKey) -> SigningKey:
        """The signing key in a sealed row.

        Raises:
            shared.sealing.CannotOpen: the row was changed, or its key-encryption key is missing.
        """
        place = (sealed.tenant, sealed.kid)
        found = self._unsealed.get(place)
        if found is None:
            # Loading an RSA key checks it, which takes 50–70 ms.
            found = await asyncio.to_thread(self._open, sealed)
            self._unsealed.keep(place, found)
        return found

    async def history(self, tenant: str | None) -> list[Key]:
        """All keys, retired ones too, oldest first."""
        async with self._database.transaction() as connection:
            return await store.list_keys(connection, tenant)

    async def rotate(self, tenant: str, wish: RotationWish) -> list[Rotation]:
        """Publishes a successor, which signs when every cached key set has expired.

        A revocation returns when the services that take tokens know of it, or after a few seconds.

        Raises:
            RevocationNotImmediate: `revoke_former` without `immediately`.
        """
        pairs = await self._prepare(tenant, wish)
        async with self._database.transaction() as connection:
            rotations = await self._rotate(connection, tenant, pairs, wish, None)
        await self._make_known(tenant, wish)
        return rotations

    async def rotate_once(
        self,
        tenant: str,
        client_id: str,
        wish: RotationWish,
        *,
        key: RequestKey | None,
        shape: Callable[[list[Rotation]], Answer],
    ) -> Answer:
        """The same with an idempotency key."""
        first = await self._answers.recall(tenant, client_id, key)
        if first is not None:
            return first
        pairs = await self._prepare(tenant, wish)

        async def act(connection: AsyncConnection) -> Answer:
            return shape(await self._rotate(connection, tenant, pairs, wish, client_id))

        answer = await self._answers.once(tenant, client_id, key, act)
        await self._make_known(tenant, wish)
        return answer

    async def advance_due(self) -> int:
        """Advances every key that is due and publishes successors; returns the number of changed successions.

        Safe on several replicas at once: each decides a succession under its lock.
        """
        async with self._database.transaction() as connection:
            due = await store.find_due(connection, self._schedule)
        for tenant, algorithm in due:
            pair = await _generate(algorithm)
            async with self._database.transaction() as connection:
                before, after = await self._change(connection, tenant, pair, self._by_time)
            self._published.forget(tenant)
            _log.info(
                "keys moved",
                tenant=tenant,
                algorithm=algorithm.value,
                before={key.kid: key.state.value for key in before},
                after={key.kid: key.state.value for key in after},
            )
        return len(due)

    async def report_ages(self) -> None:
        """Sets the metrics of the ages of signing keys."""
        async with self._database.transaction() as connection:
            ages = await store.read_greatest_ages(connection)
        for algorithm in Algorithm:
            _age.labels(algorithm.value).set(ages.get(algorithm, 0.0))

    async def _make_known(self, tenant: str, wish: RotationWish) -> None:
        self._published.forget(tenant)
        if wish.revoke_former:
            await self._revoked.wait_until_known()

    async def _prepare(self, tenant: str, wish: RotationWish) -> list[KeyPair]:
        """New pairs, generated before the transaction that may use them, in the order of locking."""
        if wish.algorithm is not None:
            algorithms = [wish.algorithm]
        else:
            async with self._database.transaction() as connection:
                algorithms = await store.read_algorithms(connection, tenant) or [Algorithm.ES256]
        return list(await asyncio.gather(*(_generate(algorithm) for algorithm in algorithms)))

    async def _rotate(
        self,
        connection: AsyncConnection,
        tenant: str,
        pairs: Sequence[KeyPair],
        wish: RotationWish,
        client_id: str | None,
    ) -> list[Rotation]:
        if wish.revoke_former and not wish.immediately:
            raise RevocationNotImmediate

        def decide(keys: Sequence[Key], fresh: Key, now: datetime) -> list[Key]:
            keys = domain.advance(keys, now, self._schedule)
            if wish.revoke_former:
                return domain.revoke_all(keys, fresh, now)
            if wish.immediately:
                return domain.replace_at_once(keys, fresh, now, self._schedule)
            return domain.publish(keys, fresh, now, self._schedule)

        rotations = []
        for pair in pairs:
            before, after = await self._change(connection, tenant, pair, decide)
            rotations.append(_rotation(before, after, pair))
            if rotations[-1].is_new:
                was, is_now = _in_words(before), _in_words(after)
                details = {"algorithm": pair.algorithm.value, "revoke_former": wish.revoke_former}
                act = Act(tenant, client_id, "signing_keys_rotated", pair.kid, was, is_now, details)
                await note(connection, acts, act, await store.read_clock(connection))
        return rotations

    async def _change(
        self, connection: AsyncConnection, tenant: str, pair: KeyPair, decide: Decision
    ) -> tuple[list[Key], list[Key]]:
        before = await store.lock_keys(connection, tenant, pair.algorithm)
        now = await store.read_clock(connection)
        fresh = Key(
            tenant=tenant,
            kid=pair.kid,
            algorithm=pair.algorithm,
            state=KeyState.NEXT,
            published_at=now,
            signs_from=now,
        )
        after = decide(before, fresh, now)
        sealed = self._sealer.seal(pair.private_der, contexts.private_key(tenant, pair.kid))
        await store.write_keys(connection, before, after, public_jwk=pair.public_jwk, sealed=sealed)
        published = next((key for key in after if key.kid == fresh.kid), None)
        if before and published is not None:
            await record(connection, events_tables, tenant, [key_rotated(published)])
        return before, after

    def _first(self, keys: Sequence[Key], fresh: Key, now: datetime) -> list[Key]:
        has_active = any(key.state is KeyState.ACTIVE for key in keys)
        return list(keys) if has_active else domain.publish(keys, fresh, now, self._schedule)

    def _by_time(self, keys: Sequence[Key], fresh: Key, now: datetime) -> list[Key]:
        moved = domain.advance(keys, now, self._schedule)
        if domain.is_rotation_due(moved, now, self._schedule):
            return domain.publish(moved, fresh, now, self._schedule)
        return moved

    def _open(self, sealed: store.SealedKey) -> SigningKey:
        private = load_private(self._sealer.open(sealed.sealed, contexts.private_key(sealed.tenant, sealed.kid)))
        return signer.of_private_key(sealed.kid, sealed.algorithm, private)


async def _generate(algorithm: Algorithm) -> KeyPair:
    return await asyncio.to_thread(generate, algorithm)


def _rotation(before: Sequence[Key], after: Sequence[Key], pair: KeyPair) -> Rotation:
    signed = _in_state(before, KeyState.ACTIVE)
    successor = _in_state(after, KeyState.NEXT) or _in_state(after, KeyState.ACTIVE)
    assert successor is not None  # noqa: S101 — every decision leaves one
    return Rotation(
        successor=successor,
        former=next((key for key in after if signed is not None and key.kid == signed.kid), None),
        is_new=successor.kid == pair.kid,
    )


def _in_state(keys: Sequence[Key], state: KeyState) -> Key | None:
    return next((key for key in keys if key.state is state), None)


def _in_words(keys: Sequence[Key]) -> dict[str, str]:
    """The state of each key that is not retired, by its id."""
    return {key.kid: key.state.value for key in keys if key.state is not KeyState.RETIRED}
