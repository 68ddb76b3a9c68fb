"""Use cases about one's own account."""

import asyncio
from typing import Any

from shared.db import Database
from shared.errors import Conflict
from shared.times import iso
from sqlalchemy.exc import IntegrityError

from partner_onboarding.billing import store as billing_store
from partner_onboarding.links import store as links_store
from partner_onboarding.links.service import Links
from partner_onboarding.mail.service import Mails
from partner_onboarding.registrations import store as registrations_store
from partner_onboarding.sessions import store as sessions_store
from partner_onboarding.sessions.domain import SignedIn, WrongPassword
from partner_onboarding.sessions.service import Sessions
from partner_onboarding.sessions.throttle import SignInThrottle
from partner_onboarding.users import store as users_store
from partner_onboarding.users.domain import SealedUser, UserNotFound, normalised_password
from partner_onboarding.users.new_passwords import checked_new_password
from partner_onboarding.users.passwords import PasswordHashing
from partner_onboarding.users.profiles import Profiles


class AccountIsNeeded(Conflict):
    """The account has duties for the tenant, which somebody else has to take over first."""

    code = "account_is_needed"


class OwnAccount:
    """What a person who is signed in does with the account."""

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        passwords: PasswordHashing,
        throttle: SignInThrottle,
        sessions: Sessions,
        links: Links,
        mails: Mails,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions
        self._links = links
        self._mails = mails

    async def change_password(
        self, who: SignedIn, present: str, new: str, *, language: str, address: str | None
    ) -> str:
        """Another password. All sessions end; returns the cookie of a new one.

        Raises:
            WrongPassword, TooManyAttempts: `present` is not the present one.
            UnfitPassword: the new one may not be chosen.
        """
        user = await self._find(who)
        profile = self._profiles.open(user).profile
        personal = (profile.email, profile.firstname, profile.lastname)
        normal = await asyncio.to_thread(checked_new_password, new, personal)
        await self._check(user, present, address)
        async with self._passwords.turn() as turn:
            password_hash = await turn.hash(normal)
        async with self._database.transaction() as connection:
            locked = await users_store.find_user(connection, who.tenant, who.user_id, lock=True)
            if locked is None or locked.password_hash != user.password_hash:
                raise WrongPassword("The password was changed meanwhile.")
            await users_store.change_password(connection, who.tenant, who.user_id, password_hash)
            await sessions_store.end_sessions_of(connection, who.tenant, who.user_id)
            await self._mails.add(connection, who.tenant, who.user_id, "password_changed", language)
            return await self._sessions.begin(connection, who.tenant, who.user_id, None)

    async def export(self, who: SignedIn) -> dict[str, Any]:
        """All that this service keeps about the person, for the person (GDPR, articles 15 and 20)."""
        async with self._database.transaction() as connection:
            sealed = await users_store.find_user(connection, who.tenant, who.user_id)
            agreements = await registrations_store.agreements_of(connection, who.tenant, who.user_id)
            links = await links_store.history_of(connection, who.tenant, who.user_id)
            assigned = await billing_store.assignments_of_user(connection, who.tenant, who.user_id)
            sessions = await sessions_store.sessions_of(connection, who.tenant, who.user_id)
        if sealed is None:
            raise UserNotFound("There is no such user.")
        user = self._profiles.open(sealed)
        return {
            "user_id": user.user_id,
            "tenant": user.tenant,
            "email": user.profile.email,
            "email_confirmed_at": None if user.email_verified_at is None else iso(user.email_verified_at),
            "firstname": user.profile.firstname,
            "lastname": user.profile.lastname,
            "roles": list(user.roles),
            "created_at": iso(user.created_at),
            "updated_at": iso(user.updated_at),
            "agreements": [
                {"document": document, "version": version, "language": language, "agreed_at": iso(at)}
                for document, version, language, at in agreements
            ],
            "partners": [
                {
                    "name": name,
                    "linked_at": iso(link.linked_at),
                    "activated_at": None if link.activated_at is None else iso(link.activated_at),
                    "removed_at": None if link.removed_at is None else iso(link.removed_at),
                    "months_assigned": [
                        iso(at) for client_id, n, at in assigned if (client_id, n) == (link.client_id, link.n)
                    ],
                }
                for name, link in links
            ],
            "sessions": [{"started_at": iso(started), "last_seen_at": iso(seen)} for started, seen in sessions],
        }

    async def delete(self, who: SignedIn, present: str, *, address: str | None) -> None:
        """Deletes the account, undoes all links, and signs the person out everywhere.

        What partners were billed for stays, under an id that leads to nobody any more.

        Raises:
            WrongPassword, TooManyAttempts: `present` is not the password.
            AccountIsNeeded: tenant admins and operators cannot leave by themselves.
        """
        user = await self._find(who)
        if user.roles:
            raise AccountIsNeeded("This account has duties; somebody else has to take them over first.")
        await self._check(user, present, address)
        try:
            async with self._database.transaction() as connection:
                if await users_store.find_user(connection, who.tenant, who.user_id, lock=True) is not None:
                    await self._links.remove_all(connection, who.tenant, who.user_id)
                    await users_store.delete_user(connection, who.tenant, who.user_id)
        except IntegrityError as error:
            # Another table holds on to the user: somebody for whom an integration acts.
            raise AccountIsNeeded("This account is in use by an integration.", log=repr(error.orig)) from None

    async def _find(self, who: SignedIn) -> SealedUser:
        async with self._database.transaction() as connection:
            found = await users_store.find_user(connection, who.tenant, who.user_id)
        if found is None:
            raise UserNotFound("There is no such user.")
        return found

    async def _check(self, user: SealedUser, given: str, address: str | None) -> None:
        await self._throttle.check(user.email_hash, address)
        kept = [user.password_hash] if user.password_hash is not None else []
        async with self._passwords.turn() as turn:
            await self._throttle.check(user.email_hash, address)
            if not any(await turn.which_match(normalised_password(given), kept)):
                await self._throttle.count_wrong(user.email_hash, address)
                raise WrongPassword("This is not the password.")
        await self._throttle.forgive(user.email_hash)
