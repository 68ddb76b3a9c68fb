"""The use cases of consents. Every change locks the client's row first, so that versions follow one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.db import Database
from shared.identifiers import is_identifier
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Action, Actor, Change
from partner_onboarding.register.clients import store as clients_store
from partner_onboarding.register.clients.domain import CLIENT_ID, Client, ClientNotFound
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import MalformedUser
from partner_onboarding.register.users.profiles import Profiles
from partner_onboarding.third_parties.consents import store
from partner_onboarding.third_parties.consents.domain import (
    Asked,
    Consent,
    ConsentNotFound,
    Event,
    InvalidGrant,
    Next,
    PresentConsent,
    Redeemed,
    UnknownUser,
    hash_of,
    in_order,
    new_code,
    next_consent,
    redeem,
    redesignated,
    withdrawn,
)

_ACTIONS: Final[Mapping[Event, Action]] = {
    "granted": "consent_granted",
    "extended": "consent_extended",
    "redesignated": "consent_redesignated",
    "withdrawn": "consent_withdrawn",
}


@dataclass(frozen=True, slots=True)
class Given:
    """A consent and its client."""

    client: Client
    consent: Consent


class Consents:
    """The consents of all tenants."""

    def __init__(self, database: Database, profiles: Profiles) -> None:
        self._database = database
        self._profiles = profiles

    async def third_party(self, tenant: str, client_id: str) -> tuple[Client, Consent | None]:
        """A third party's client of this tenant, and the present consent to it.

        Raises:
            ClientNotFound: also for another tenant's, a first party's or a disabled client.
        """
        async with self._database.transaction() as connection:
            client = await self._third_party(connection, tenant, client_id)
            return client, await store.present(connection, tenant, client_id)

    async def consent(
        self,
        tenant: str,
        client_id: str,
        asked: Asked,
        *,
        designated: str,
        words: Mapping[str, str],
        language: str,
        by: Actor,
    ) -> str:
        """Writes the admin's consent and returns the authorization code for the third party.

        Args:
            asked: the request of the link, checked again, since the client may have changed.
            designated: e-mail address or id of the user for API calls.
            words: the texts that the admin read, by scope, in `language`.

        Raises:
            ClientNotFound, UnknownUser
        """
        code, code_hash = new_code()
        async with self._database.transaction() as connection:
            await self._third_party(connection, tenant, client_id, lock=True)
            subject = await self._user(connection, tenant, designated)
            latest = await store.latest(connection, tenant, client_id)
            following = next_consent(latest, asked.scopes, subject, words, language)
            version = await self._write(connection, tenant, client_id, latest, following, by)
            await store.add_code(connection, tenant, client_id, code_hash, asked, version)
        return code

    async def refuse(self, tenant: str, client_id: str, asked: Asked, *, by: Actor) -> None:
        """Writes the admin's refusal; an earlier consent stays.

        Raises:
            ClientNotFound
        """
        async with self._database.transaction() as connection:
            await self._third_party(connection, tenant, client_id)
            details = {"scopes": list(asked.scopes)}
            await audit_store.add(connection, tenant, by, "consent_refused", client_id, details)

    async def redesignate(self, tenant: str, client_id: str, designated: str, *, by: Actor) -> Consent:
        """Designates another user, from the next token on.

        Raises:
            ConsentNotFound, UnknownUser
        """
        async with self._database.transaction() as connection:
            await self._latest(connection, tenant, client_id)
            present = await self._present(connection, tenant, client_id)
            subject = await self._user(connection, tenant, designated)
            await self._write(connection, tenant, client_id, present, redesignated(present, subject), by)
            return await self._present(connection, tenant, client_id)

    async def withdraw(self, tenant: str, client_id: str, *, by: Actor) -> None:
        """Ends the consent now; a repeat is fine.

        Raises:
            ConsentNotFound: there never was one.
        """
        async with self._database.transaction() as connection:
            latest = await self._latest(connection, tenant, client_id)
            if latest.holds:
                await self._write(connection, tenant, client_id, latest, withdrawn(latest), by)

    async def present_among(self, asked: Sequence[tuple[str, str]]) -> list[PresentConsent]:
        """Those of the consents, by tenant and client id, that hold: given, not withdrawn, to an enabled client."""
        return await store.present_among(
            self._database, [(tenant, client_id) for tenant, client_id in asked if CLIENT_ID.fullmatch(client_id)]
        )

    async def scopes_of(self, tenant: str, client_id: str) -> frozenset[str] | None:
        """What the consent that holds gives; None if there is none."""
        async with self._database.transaction() as connection:
            found = await store.present(connection, tenant, client_id)
        return None if found is None else frozenset(found.scopes)

    async def history(self, tenant: str, client_id: str) -> tuple[Client, list[Consent]]:
        """All versions, newest first. Raises ConsentNotFound if there never was one."""
        async with self._database.transaction() as connection:
            client = await clients_store.find_client_of(connection, tenant, client_id)
            found = await store.history(connection, tenant, client_id)
        if client is None or not found:
            raise ConsentNotFound("There is no such consent.")
        return client, found

    async def list_consents(self, tenant: str, *, after: str = "", limit: int = 100) -> list[Given]:
        """The newest version for each client, withdrawn ones too, in the order of client ids."""
        async with self._database.transaction() as connection:
            found = await store.latest_of_all(connection, tenant, after, limit)
            given = []
            for consent in found:
                client = await clients_store.find_client_of(connection, tenant, consent.client_id)
                if client is not None:
                    given.append(Given(client, consent))
        return given

    async def redeem(self, code: str, client_id: str, redirect_uri: str, code_verifier: str | None) -> Redeemed:
        """Redeems a code for the issuer, once.

        Args:
            code_verifier: PKCE; None if the link had no challenge.

        Raises:
            InvalidGrant: `replayed` if the code was redeemed before.
        """
        code_hash = hash_of(code)
        try:
            async with self._database.transaction() as connection:
                return await self._redeem(connection, code_hash, client_id, redirect_uri, code_verifier)
        except InvalidGrant as refusal:
            if refusal.members.get("replayed"):
                await self._note_replay(client_id, refusal.members["consent_version"])
            raise

    async def tidy_up(self) -> int:
        """Deletes codes a day after their end; returns their number."""
        async with self._database.transaction() as connection:
            return await store.delete_old_codes(connection)

    async def _redeem(
        self,
        connection: AsyncConnection,
        code_hash: bytes,
        client_id: str,
        redirect_uri: str,
        code_verifier: str | None,
    ) -> Redeemed:
        client = await clients_store.find_client(connection, client_id) if CLIENT_ID.fullmatch(client_id) else None
        kept = await store.lock_code(connection, client.tenant, client_id, code_hash) if client is not None else None
        if client is None or client.disabled_at is not None or kept is None:
            raise InvalidGrant("The code is not valid.")
        consent = await store.present(connection, client.tenant, client_id)
        since_version = await store.begun_with(connection, client.tenant, client_id)
        scopes = redeem(
            kept,
            redirect_uri=redirect_uri,
            code_verifier=code_verifier,
            consent=consent,
            since_version=since_version,
            now=await store.now(connection),
        )
        assert consent is not None  # noqa: S101 — a code without one is refused
        await store.use_code_up(connection, client.tenant, code_hash)
        details = {"scopes": list(scopes), "version": consent.version}
        actor = Actor("client", client_id)
        await audit_store.add(connection, client.tenant, actor, "code_redeemed", client_id, details)
        return Redeemed(client.tenant, client_id, consent.subject, in_order(scopes), consent.version)

    async def _note_replay(self, client_id: str, version: int) -> None:
        async with self._database.transaction() as connection:
            client = await clients_store.find_client(connection, client_id)
            if client is not None:
                actor = Actor("client", client_id)
                await audit_store.add(
                    connection, client.tenant, actor, "code_replayed", client_id, {"version": version}
                )

    async def _write(
        self,
        connection: AsyncConnection,
        tenant: str,
        client_id: str,
        latest: Consent | None,
        following: Next | None,
        by: Actor,
    ) -> int:
        """The version that holds afterwards: the new one, or the latest if there is nothing to write."""
        if following is None:
            assert latest is not None  # noqa: S101 — nothing follows only where there is one already
            return latest.version
        added = await store.add(connection, tenant, client_id, following, by)
        change = Change(None if latest is None else _audited(latest), _audited(added))
        details = {"version": added.version}
        await audit_store.add(connection, tenant, by, _ACTIONS[added.event], client_id, details, change=change)
        return added.version

    async def _latest(self, connection: AsyncConnection, tenant: str, client_id: str) -> Consent:
        """The newest version, with the client's row locked. It may be a withdrawal, and the client may be disabled."""
        await clients_store.find_client_of(connection, tenant, client_id, lock=True)
        latest = await store.latest(connection, tenant, client_id)
        if latest is None:
            raise ConsentNotFound("There is no such consent.")
        return latest

    async def _present(self, connection: AsyncConnection, tenant: str, client_id: str) -> Consent:
        found = await store.present(connection, tenant, client_id)
        if found is None:
            raise ConsentNotFound("There is no such consent.")
        return found

    async def _third_party(
        self, connection: AsyncConnection, tenant: str, client_id: str, *, lock: bool = False
    ) -> Client:
        client = await clients_store.find_client_of(connection, tenant, client_id, lock=lock)
        if client is None or client.disabled_at is not None or client.registration.kind != "third_party":
            raise ClientNotFound("There is no such integration.")
        return client

    async def _user(self, connection: AsyncConnection, tenant: str, designated: str) -> str:
        """The id of the tenant's user with this address or id, locked: nobody is erased who is being designated."""
        wanted = designated.strip()
        found = None
        if "@" in wanted:
            try:
                found = await store.user_with_email(connection, tenant, self._profiles.email_hash(wanted))
            except MalformedUser:
                found = None
        if found is None and is_identifier(wanted):
            found = wanted
        if found is None or await users_store.find_user(connection, tenant, found, lock=True) is None:
            raise UnknownUser("There is no such user in this tenant.")
        return found


def _audited(consent: Consent) -> dict[str, Any]:
    return {"scopes": list(consent.scopes), "designated_user": consent.subject}
