"""The use cases of a person's own account."""

import asyncio
from collections.abc import Sequence
from typing import Any

from shared.db import Database
from shared.times import iso

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, unsaid
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.own_account.domain import Records
from partner_onboarding.register.sessions import store as sessions_store
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.domain import WrongPassword
from partner_onboarding.register.sign_in.service import attempt_at
from partner_onboarding.register.sign_in.throttle import SignInThrottle
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import SealedUser, UserNotFound, normalised_password
from partner_onboarding.register.users.erasing import AccountIsNeeded, Erasing
from partner_onboarding.register.users.new_passwords import checked_new_password
from partner_onboarding.register.users.passwords import PasswordHashing
from partner_onboarding.register.users.profiles import Profiles


class OwnAccount:
    """The acts of a signed-in person on the own account.

    Args:
        records: what the parts beside the register keep about people.
    """

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        passwords: PasswordHashing,
        throttle: SignInThrottle,
        sessions: Sessions,
        records: Sequence[Records],
        erasing: Erasing,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions
        self._records = records
        self._erasing = erasing

    async def change_password(
        self, who: SignedIn, present: str, new: str, *, language: str, address: str | None
    ) -> str:
        """Changes the password and ends all sessions; returns the cookie of a new one.

        Raises:
            WrongPassword, TooManyAttempts: `present` is not the present one.
            UnfitPassword: the rules refuse the new one.
        """
        user = await self._find(who)
        profile = self._profiles.open(user).profile
        personal = (profile.email, profile.firstname, profile.lastname)
        # The new one is judged last: that takes milliseconds, which only the owner may ask for.
        await self._check(user, present, address)
        normal = await asyncio.to_thread(checked_new_password, new, personal)
        async with self._passwords.turn() as turn:
            password_hash = await turn.hash(normal)
        async with self._database.transaction() as connection:
            locked = await users_store.find_user(connection, who.tenant, who.user_id, lock=True)
            if locked is None or locked.password_hash != user.password_hash:
                raise WrongPassword("The password was changed meanwhile.")
            await users_store.change_password(connection, who.tenant, who.user_id, password_hash)
            await sessions_store.end_sessions_of(connection, who.tenant, who.user_id)
            await notices_store.add(connection, who.tenant, who.user_id, "password_changed", language)
            change = unsaid(["password"])
            await audit_store.add(connection, who.tenant, _actor(who), "password_changed", who.user_id, change=change)
            return await self._sessions.begin(connection, who.tenant, who.user_id, None)

    async def export(self, who: SignedIn) -> dict[str, Any]:
        """Everything that the platform stores about the person (GDPR, articles 15 and 20).

        Raises:
            Unavailable: one of the services cannot be asked. A copy is whole, or there is none.
        """
        parts = await asyncio.gather(*(part.about(who.tenant, who.user_id) for part in self._records))
        async with self._database.transaction() as connection:
            sealed = await users_store.find_user(connection, who.tenant, who.user_id)
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
            **{name: records for part in parts for name, records in part.items()},
            "sessions": [{"started_at": iso(started), "last_seen_at": iso(seen)} for started, seen in sessions],
        }

    async def delete(self, who: SignedIn, present: str, *, address: str | None) -> None:
        """Deletes the account, removes all links, and signs the person out everywhere.

        Billed months stay, under an id that no longer leads to a person.

        Raises:
            WrongPassword, TooManyAttempts: `present` is not the password.
            AccountIsNeeded: tenant admins and operators cannot delete themselves.
        """
        user = await self._find(who)
        if user.roles:
            # Before the password: an account with duties cannot go.
            raise AccountIsNeeded("This account has duties; somebody else has to take them over first.")
        await self._check(user, present, address)
        try:
            await self._erasing.erase(who.tenant, who.user_id, by=_actor(who))
        except UserNotFound:
            # Deleted meanwhile, by another tab.
            return

    async def prove(self, who: SignedIn, given: str, network: str | None) -> None:
        """Raises WrongPassword, TooManyAttempts if this is not the person's password."""
        await self._check(await self._find(who), given, network)

    async def _find(self, who: SignedIn) -> SealedUser:
        async with self._database.transaction() as connection:
            found = await users_store.find_user(connection, who.tenant, who.user_id)
        if found is None:
            raise UserNotFound("There is no such user.")
        return found

    async def _check(self, user: SealedUser, given: str, address: str | None) -> None:
        # Counted apart from the sign-in: guesses in a session that somebody left open lock out nobody else.
        attempt = attempt_at(user, address, device="signed-in")
        await self._throttle.check(attempt)
        kept = [user.password_hash] if user.password_hash is not None else []
        async with self._passwords.turn() as turn:
            await self._throttle.check(attempt)
            if not any(await turn.which_match(normalised_password(given), kept)):
                await self._throttle.count_wrong(attempt)
                raise WrongPassword("This is not the password.")
        await self._throttle.forgive(attempt)


def _actor(who: SignedIn) -> Actor:
    return Actor("user", who.user_id)
