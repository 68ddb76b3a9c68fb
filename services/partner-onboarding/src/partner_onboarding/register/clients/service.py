"""Use cases about clients and their secrets."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from shared.db import Database
from shared.idempotency import Answer, Answers, RequestKey
from shared.sandboxes.domain import is_test_client
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import ANONYMOUS, SHELL, Actor, Change
from partner_onboarding.register.clients import store
from partner_onboarding.register.clients.domain import (
    CLIENT_ID,
    MAX_OVERLAP_SECONDS,
    SELF,
    Client,
    ClientChanged,
    ClientDisabled,
    ClientIdTaken,
    ClientInternal,
    ClientNotFound,
    MalformedClient,
    Registration,
    Secret,
    SecretNotFound,
    VendorIdTaken,
    audited,
    check_within_rights,
    checked,
    is_platforms_own,
    live_numbers,
    rotate,
    state_of,
)
from partner_onboarding.register.clients.secret_hashing import SecretHashing, check_given, new_secret
from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.notices.service import Notices

_ID_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_CHARACTERS = 16
_DISABLED: Final = Change({"is_disabled": False}, {"is_disabled": True})


@dataclass(frozen=True, slots=True)
class Listed:
    """A client with the times of its secrets."""

    client: Client
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A new secret in clear, this once; `secrets` are all of the client's, with the new one."""

    client: Client
    n: int
    client_secret: str
    secrets: tuple[Secret, ...]


class Clients:
    """The register of clients.

    Args:
        plain_http: whether addresses on one's own machine may be plain http (development).
    """

    def __init__(
        self, database: Database, answers: Answers, hashing: SecretHashing, notices: Notices, *, plain_http: bool
    ) -> None:
        self._database = database
        self._answers = answers
        self._hashing = hashing
        self._notices = notices
        self._plain_http = plain_http

    async def register(
        self,
        connection: AsyncConnection,
        tenant: str,
        registration: Registration,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        takes_over: bool = False,
        by: Actor = SHELL,
    ) -> NewSecret:
        """A new client with its first secret.

        Args:
            takes_over: the live client that has the vendor id now is disabled.
            client_id, client_secret: an operator with shell access may choose them. Over the API they are random, since
            a chosen id could reveal other tenants' ids.

        Raises:
            MalformedClient: naming what is wrong.
            ClientIdTaken: by any tenant.
            VendorIdTaken: a live client of the tenant keeps its records under this name.
        """
        if client_id is not None and (not CLIENT_ID.fullmatch(client_id) or client_id == SELF):
            raise MalformedClient("A client id has 1 to 64 letters, digits, dots, hyphens and underscores.")
        if client_id is not None and is_test_client(client_id) and by != ANONYMOUS:
            raise MalformedClient("Ids of this form are those of test clients, which developers make for themselves.")
        if registration.kind == "third_party" and registration.vendor_id is not None:
            raise MalformedClient("A third party has no vendor_id: its access tokens name it by its client_id.")
        if client_secret is not None:
            check_given(client_secret)
        chosen = client_id or "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARACTERS))
        wanted = checked(registration, plain_http=self._plain_http)
        if takes_over and wanted.vendor_id is not None:
            await self._end_predecessor(connection, tenant, wanted.vendor_id, chosen, by)
        client = await store.add_client(connection, tenant, chosen, wanted)
        if client is None:
            if await store.find_client(connection, chosen) is not None:
                raise ClientIdTaken("There is a client of this id already.")
            raise VendorIdTaken(
                "A live client has this vendor id. Disable it first, or let the new one take over: takes_over."
            )
        secret = client_secret or new_secret()
        kept = await store.add_secret(connection, tenant, chosen, 1, self._hashing.hash(secret))
        change = Change(None, audited(client))
        await audit_store.add(connection, tenant, by, "client_registered", chosen, change=change)
        await self._tell_operators(connection, client, "client_made", by)
        return NewSecret(client, 1, secret, (kept,))

    async def register_once(
        self,
        tenant: str,
        registration: Registration,
        *,
        takes_over: bool,
        by: Actor,
        key: RequestKey | None,
        shape: Callable[[NewSecret], Answer],
    ) -> Answer:
        """A new client with its first secret; a repeat with the same key gets the first answer.

        Args:
            shape: makes the answer that is kept, sealed.

        Raises:
            MalformedClient: naming what is wrong.
            VendorIdTaken, ExceedsOwnRights
        """

        async def act(connection: AsyncConnection) -> Answer:
            await self._check_rights(connection, tenant, registration, by)
            new = await self.register(connection, tenant, registration, takes_over=takes_over, by=by)
            return shape(new)

        return await self._answers.once(tenant, by.name, key, act)

    async def list_clients(self, tenant: str | None, *, after: str = "", limit: int = 100) -> list[Listed]:
        """Clients after `after` in the order of their ids; of all tenants if `tenant` is None."""
        async with self._database.transaction() as connection:
            found = await store.list_clients(connection, tenant, after, limit)
            listed = []
            for owner in dict.fromkeys(client.tenant for client in found):
                ids = [client.client_id for client in found if client.tenant == owner]
                kept = await store.secrets_of(connection, owner, ids)
                listed += [Listed(c, tuple(kept[c.client_id])) for c in found if c.tenant == owner]
        return sorted(listed, key=lambda one: one.client.client_id)

    async def get(self, tenant: str, client_id: str) -> Listed:
        """Raises ClientNotFound, also for a client of another tenant."""
        async with self._database.transaction() as connection:
            client = await self._get(connection, tenant, client_id)
            return Listed(client, tuple((await store.secrets_of(connection, tenant, [client_id]))[client_id]))

    async def now(self) -> datetime:
        """The database's clock, by which secrets end."""
        async with self._database.transaction() as connection:
            return await store.now(connection)

    async def enabled(self, client_id: str) -> Client:
        """An enabled client of any tenant, for the issuer, which learns the tenant from it.

        Raises:
            ClientNotFound: also if it is disabled.
        """
        found = await self.find_anywhere(client_id) if CLIENT_ID.fullmatch(client_id) else None
        if found is None or found.disabled_at is not None:
            raise ClientNotFound("There is no such client.")
        return found

    async def enabled_among(self, client_ids: Sequence[str]) -> list[Client]:
        """Those of the clients that are there, of any tenant, and not disabled."""
        found = await store.live_secrets(self._database, [one for one in client_ids if CLIENT_ID.fullmatch(one)])
        return [one.client for one in found.values()]

    async def find_anywhere(self, client_id: str) -> Client | None:
        """A client of any tenant, for operators with shell access."""
        async with self._database.transaction() as connection:
            return await store.find_client(connection, client_id)

    async def rotate_secret(
        self, tenant: str, client_id: str, *, overlap_seconds: int, end_former: bool = False, by: Actor = SHELL
    ) -> NewSecret:
        """A new secret; the former one stays good for the overlap, older ones end at once.

        Raises:
            ClientNotFound, ClientDisabled, ClientInternal, FormerSecretLive
            MalformedClient: the overlap is negative or longer than 30 days.
        """
        async with self._database.transaction() as connection:
            return await self._rotate_secret(connection, tenant, client_id, overlap_seconds, end_former, by)

    async def rotate_secret_once(
        self,
        tenant: str,
        client_id: str,
        *,
        overlap_seconds: int,
        end_former: bool = False,
        by: Actor,
        key: RequestKey | None,
        shape: Callable[[NewSecret], Answer],
    ) -> Answer:
        """The same, by a client; a repeat with the same key gets the first answer.

        Raises:
            ExceedsOwnRights: the secret would open more than the caller's own does.
        """

        async def act(connection: AsyncConnection) -> Answer:
            if by != Actor("client", client_id):
                wanted = (await self._get(connection, tenant, client_id)).registration
                await self._check_rights(connection, tenant, wanted, by)
            return shape(await self._rotate_secret(connection, tenant, client_id, overlap_seconds, end_former, by))

        return await self._answers.once(tenant, by.name, key, act)

    async def revoke_secret(self, tenant: str, client_id: str, n: int, *, by: Actor = SHELL) -> None:
        """Ends a secret now; a repeat is fine.

        Raises:
            ClientNotFound, ClientInternal, SecretNotFound
        """
        _check_operable(tenant, client_id, by)
        async with self._database.transaction() as connection:
            await self._get(connection, tenant, client_id, lock=True)
            kept = (await store.secrets_of(connection, tenant, [client_id]))[client_id]
            if n not in {secret.n for secret in kept}:
                raise SecretNotFound("This client has no secret of this number.")
            if await store.revoke_secrets(connection, tenant, client_id, [n]):
                live = live_numbers(kept, await store.now(connection))
                change = Change({"live_secrets": live}, {"live_secrets": [one for one in live if one != n]})
                await audit_store.add(connection, tenant, by, "secret_revoked", client_id, {"n": n}, change=change)

    async def make(self, tenant: str, registration: Registration, *, takes_over: bool = False, by: Actor) -> NewSecret:
        """Like `register`, in a transaction of its own."""
        async with self._database.transaction() as connection:
            return await self.register(connection, tenant, registration, takes_over=takes_over, by=by)

    async def live(self, tenant: str, client_id: str, *, by: Actor) -> Client:
        """A client that this actor can still change.

        Raises:
            ClientNotFound, ClientDisabled, ClientInternal
        """
        _check_operable(tenant, client_id, by)
        async with self._database.transaction() as connection:
            return await self._live(connection, tenant, client_id)

    def checked_change(self, client: Client, **wanted: Any) -> Client:
        """The client as it would be with other values of its registration.

        Raises:
            MalformedClient: naming what is wrong.
        """
        return replace(
            client, registration=checked(replace(client.registration, **wanted), plain_http=self._plain_http)
        )

    async def change(self, tenant: str, client_id: str, *, seen: str, by: Actor, **wanted: Any) -> Client:
        """Changes name, scopes, addresses or networks; a repeat changes nothing.

        Args:
            seen: the state (`state_of`) of the client that the operator saw.

        Raises:
            ClientNotFound, ClientDisabled, ClientInternal, MalformedClient
            ClientChanged: somebody else has changed it meanwhile.
        """
        _check_operable(tenant, client_id, by)
        async with self._database.transaction() as connection:
            client = await self._live(connection, tenant, client_id, lock=True)
            changed = self.checked_change(client, **wanted)
            change = Change(audited(client), audited(changed))
            if not change.details:
                return client
            if state_of(client) != seen:
                raise ClientChanged("Somebody has changed this client meanwhile.")
            await store.change_client(connection, changed)
            await audit_store.add(connection, tenant, by, "client_changed", client_id, change=change)
            return changed

    async def disable(self, tenant: str, client_id: str, *, by: Actor = SHELL) -> None:
        """Disables the client for good; a repeat is fine.

        Raises:
            ClientNotFound, ClientInternal
        """
        _check_operable(tenant, client_id, by)
        async with self._database.transaction() as connection:
            await self.disable_within(connection, tenant, client_id, by=by)

    async def disable_within(
        self, connection: AsyncConnection, tenant: str, client_id: str, *, by: Actor = SHELL
    ) -> None:
        """The same in the caller's transaction."""
        await self._get(connection, tenant, client_id, lock=True)
        if await store.disable_client(connection, tenant, client_id):
            await audit_store.add(connection, tenant, by, "client_disabled", client_id, change=_DISABLED)

    async def _end_predecessor(
        self, connection: AsyncConnection, tenant: str, vendor_id: str, successor: str, by: Actor
    ) -> None:
        predecessor = await store.live_client_of_vendor(connection, tenant, vendor_id)
        if predecessor is not None and await store.disable_client(connection, tenant, predecessor):
            details = {"taken_over_by": successor}
            await audit_store.add(connection, tenant, by, "client_disabled", predecessor, details, change=_DISABLED)

    async def _rotate_secret(
        self,
        connection: AsyncConnection,
        tenant: str,
        client_id: str,
        overlap_seconds: int,
        end_former: bool,
        by: Actor,
    ) -> NewSecret:
        if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
            raise MalformedClient(f"overlap_seconds lies between 0 and {MAX_OVERLAP_SECONDS}.")
        _check_operable(tenant, client_id, by)
        client = await self._live(connection, tenant, client_id, lock=True)
        present = (await store.secrets_of(connection, tenant, [client_id]))[client_id]
        now = await store.now(connection)
        rotation = rotate(present, timedelta(seconds=overlap_seconds), now, end_former=end_former)
        await store.end_secrets(connection, tenant, client_id, rotation)
        secret = new_secret()
        await store.add_secret(connection, tenant, client_id, rotation.new_n, self._hashing.hash(secret))
        kept = (await store.secrets_of(connection, tenant, [client_id]))[client_id]
        details = {"n": rotation.new_n, "overlap_seconds": overlap_seconds, "ended": list(rotation.ends_now)}
        change = Change({"live_secrets": live_numbers(present, now)}, {"live_secrets": live_numbers(kept, now)})
        await audit_store.add(connection, tenant, by, "secret_added", client_id, details, change=change)
        await self._tell_operators(connection, client, "secret_made", by)
        return NewSecret(client, rotation.new_n, secret, tuple(kept))

    async def _check_rights(
        self, connection: AsyncConnection, tenant: str, registration: Registration, by: Actor
    ) -> None:
        """Raises ExceedsOwnRights if the client that acts would give another one more than it may do itself."""
        check_within_rights(registration, (await self._get(connection, tenant, by.name)).registration)

    async def _tell_operators(self, connection: AsyncConnection, client: Client, kind: Kind, by: Actor) -> None:
        """Tells the other operators of a new secret: nobody makes one without their notice.

        They hear nothing of a client that rotates its own secret, unless it may register clients.
        """
        rotates_itself = by == Actor("client", client.client_id) and "clients:admin" not in client.registration.scopes
        if rotates_itself or is_platforms_own(client.tenant, client.client_id):
            return
        facts = {"client": client.registration.name, "client_id": client.client_id, "actor_kind": by.kind}
        facts["actor"] = by.name
        knows = by.name if by.kind == "operator" else None
        await self._notices.tell_operators(connection, client.tenant, kind, facts, but=knows)

    async def _live(self, connection: AsyncConnection, tenant: str, client_id: str, *, lock: bool = False) -> Client:
        client = await self._get(connection, tenant, client_id, lock=lock)
        if client.disabled_at is not None:
            raise ClientDisabled("This client is disabled; register a new one.")
        return client

    async def _get(self, connection: AsyncConnection, tenant: str, client_id: str, *, lock: bool = False) -> Client:
        client = await store.find_client_of(connection, tenant, client_id, lock=lock)
        if client is None:
            raise ClientNotFound("There is no such client.")
        return client


def _check_operable(tenant: str, client_id: str, by: Actor) -> None:
    """Raises ClientInternal for a client that the service keeps for itself; a shell may do everything."""
    if by != SHELL and is_platforms_own(tenant, client_id):
        raise ClientInternal
