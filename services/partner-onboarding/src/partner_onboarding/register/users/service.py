"""The use cases of users."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shared.db import Database
from shared.preconditions import ANY_STATE, Precondition
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import SHELL, Action, Actor, Change
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.sessions import store as sessions_store
from partner_onboarding.register.users import store
from partner_onboarding.register.users.domain import (
    ROLES,
    EmailTaken,
    LastOperator,
    MalformedUser,
    OwnAccountMeant,
    PrivilegedUser,
    Profile,
    SealedUser,
    User,
    UserNotFound,
    checked_profile,
    normalised_password,
)
from partner_onboarding.register.users.new_passwords import checked_new_password
from partner_onboarding.register.users.passwords import PasswordHashing
from partner_onboarding.register.users.profiles import Profiles


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A user as a caller wants it; without a password the present one stays."""

    profile: Profile
    email_hash: bytes
    password_hash: str | None
    roles: tuple[str, ...]


class Users:
    """The users of all tenants."""

    def __init__(self, database: Database, profiles: Profiles, passwords: PasswordHashing) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords

    async def get(self, tenant: str, user_id: str) -> User:
        """Raises UserNotFound, also for a user of another tenant."""
        found = await store.find_users(self._database, tenant, [user_id])
        if not found:
            raise UserNotFound("There is no such user.")
        return self._profiles.open(found[0])

    async def get_enabled(self, tenant: str, user_ids: Sequence[str]) -> list[User]:
        """Those of the users for whom the platform vouches to others: the tenant's own that are not disabled."""
        found = await store.find_users(self._database, tenant, user_ids)
        return [self._profiles.open(user) for user in found if user.disabled_at is None]

    async def list_users(
        self,
        tenant: str | None,
        roles: Collection[str] | None,
        *,
        after: tuple[str, str] = ("", ""),
        limit: int = 100,
    ) -> list[User]:
        """Users behind the place (tenant, user id), in this order; of one tenant or all, with one of `roles` or all."""
        async with self._database.transaction() as connection:
            found = await store.list_users(connection, tenant, roles, after, limit)
        return [self._profiles.open(one) for one in found]

    async def put(
        self,
        tenant: str,
        user_id: str,
        *,
        email: str,
        firstname: str,
        lastname: str,
        password: str | None,
        roles: Collection[str] = (),
        by: Actor = SHELL,
        condition: Precondition = ANY_STATE,
    ) -> tuple[User, bool]:
        """Creates or changes a user; returns the user and whether it is new. A repeat changes nothing.

        Without a password the present one stays; another one ends all sessions of the user. Only a new user gets
        roles. The address counts as confirmed. The person hears of another password and another address by mail.

        Raises:
            MalformedUser: naming what is wrong; UnfitPassword: the rules refuse the new password.
            EmailTaken: another user of the tenant has this address.
            PrivilegedUser: the user has a role, and a client asks.
            PreconditionFailed: the user is not as `condition` says.
        """
        if not set(roles) <= set(ROLES):
            raise MalformedUser("There is no such role.", code="unknown_role")
        profile = checked_profile(email, firstname, lastname)
        email_hash = self._profiles.email_hash(email)
        password_hash = None if password is None else await self._hash_of(tenant, user_id, password, profile, by)
        wanted = _Wanted(profile, email_hash, password_hash, tuple(sorted(set(roles))))
        try:
            return await self._set(tenant, user_id, wanted, by, condition)
        except EmailTaken:
            # Perhaps by this very user, whom another call has added at this moment: then he or she is there now.
            return await self._set(tenant, user_id, wanted, by, condition)

    async def revoke_role(self, tenant: str, user_id: str, role: str, *, by: Actor = SHELL) -> User:
        """Takes a role away and ends all sessions; a repeat is fine. The person hears of it by mail.

        Raises:
            UserNotFound
            MalformedUser: there is no such role.
            OwnAccountMeant, LastOperator: an operator asks on the pages. Somebody with a shell can make another one.
        """
        if role not in ROLES:
            raise MalformedUser("There is no such role.", code="unknown_role")
        async with self._database.transaction() as connection:
            await _need_others(connection, tenant, user_id, by, ends_operator=role == "operator")
            user = await _found(connection, tenant, user_id, lock=True)
            if role in user.roles:
                kept = [one for one in user.roles if one != role]
                await store.set_roles(connection, tenant, user_id, kept)
                await sessions_store.end_sessions_of(connection, tenant, user_id)
                change = Change({"roles": list(user.roles)}, {"roles": kept})
                await audit_store.add(connection, tenant, by, "role_revoked", user_id, change=change)
                await notices_store.add(connection, tenant, user_id, "role_changed")
            return self._profiles.open(await _found(connection, tenant, user_id))

    async def set_disabled(self, tenant: str, user_id: str, *, disabled: bool, by: Actor = SHELL) -> User:
        """Keeps a person out, or lets him or her in again; a repeat is fine. All sessions of a disabled user end.

        The person hears of it by mail.

        Raises:
            UserNotFound
            OwnAccountMeant, LastOperator: as in `revoke_role`.
        """
        async with self._database.transaction() as connection:
            await _need_others(connection, tenant, user_id, by, ends_operator=disabled)
            user = await _found(connection, tenant, user_id, lock=True)
            if (user.disabled_at is not None) != disabled:
                await store.set_disabled(connection, tenant, user_id, disabled=disabled)
                await sessions_store.end_sessions_of(connection, tenant, user_id)
                action: Action = "user_disabled" if disabled else "user_enabled"
                change = Change({"is_disabled": not disabled}, {"is_disabled": disabled})
                await audit_store.add(connection, tenant, by, action, user_id, change=change)
                await notices_store.add(connection, tenant, user_id, "disabled" if disabled else "enabled")
            return self._profiles.open(await _found(connection, tenant, user_id))

    async def end_sessions(self, tenant: str, user_id: str, *, by: Actor = SHELL) -> int:
        """Signs a person out everywhere; returns how many sessions ended. The person hears of it by mail.

        Raises:
            UserNotFound
        """
        async with self._database.transaction() as connection:
            await _found(connection, tenant, user_id, lock=True)
            ended = await sessions_store.end_sessions_of(connection, tenant, user_id)
            details, change = {"number": ended}, Change({"sessions": ended}, {"sessions": 0})
            await audit_store.add(connection, tenant, by, "sessions_ended", user_id, details, change=change)
            if ended:
                await notices_store.add(connection, tenant, user_id, "sessions_ended")
            return ended

    async def _set(
        self, tenant: str, user_id: str, wanted: _Wanted, by: Actor, condition: Precondition
    ) -> tuple[User, bool]:
        async with self._database.transaction() as connection:
            added = await store.add_user(
                connection,
                tenant,
                user_id,
                email_hash=wanted.email_hash,
                profile=self._profiles.seal(tenant, user_id, wanted.profile),
                password_hash=wanted.password_hash,
                roles=wanted.roles,
            )
            if added is not None:
                condition.check(None)
                change = Change(None, {"roles": list(wanted.roles), "has_password": wanted.password_hash is not None})
                await audit_store.add(connection, tenant, by, "user_created", user_id, change=change)
                return self._profiles.open(added), True
            changed = await self._change(connection, tenant, user_id, wanted, by, condition)
            return self._profiles.open(changed), False

    async def _change(
        self,
        connection: AsyncConnection,
        tenant: str,
        user_id: str,
        wanted: _Wanted,
        by: Actor,
        condition: Precondition,
    ) -> SealedUser:
        former = await _found(connection, tenant, user_id, lock=True)
        _need_within_reach(former, by)
        user = self._profiles.open(former)
        condition.check(user.settings)
        before = user.profile
        changed = [
            name
            for name, is_other in (
                ("email", wanted.profile.email != before.email),
                ("firstname", wanted.profile.firstname != before.firstname),
                ("lastname", wanted.profile.lastname != before.lastname),
                ("password", wanted.password_hash not in {None, former.password_hash}),
            )
            if is_other
        ]
        # The user that the tenant names owns the address, also one that was only claimed so far.
        if not changed and former.owns_email:
            return former
        if "password" in changed:
            await sessions_store.end_sessions_of(connection, tenant, user_id)
            await notices_store.add(connection, tenant, user_id, "password_changed")
        if wanted.email_hash != former.email_hash:
            await notices_store.add(connection, tenant, user_id, "email_changed")
            recipient = self._profiles.seal_address(tenant, user_id, before.email)
            await notices_store.add(connection, tenant, user_id, "email_changed", recipient=recipient)
        change = Change({"owns_email": former.owns_email}, {"owns_email": True}, unsaid=tuple(changed))
        await audit_store.add(connection, tenant, by, "user_changed", user_id, change=change)
        return await store.change_user(
            connection,
            tenant,
            user_id,
            email_hash=wanted.email_hash,
            profile=self._profiles.seal(tenant, user_id, wanted.profile),
            password_hash=wanted.password_hash if "password" in changed else former.password_hash,
        )

    async def _hash_of(self, tenant: str, user_id: str, given: str, profile: Profile, by: Actor) -> str:
        """A hash of the password: the stored one, if it matches, else a new one of a password that the rules allow."""
        async with self._database.transaction() as connection:
            present = await store.find_user(connection, tenant, user_id)
        # Before the work, and before the answer could say whether the password is the present one.
        _need_within_reach(present, by)
        if present is not None and present.password_hash is not None:
            async with self._passwords.turn() as turn:
                if any(await turn.which_match(normalised_password(given), [present.password_hash])):
                    return present.password_hash
        # In a thread, so that judging a password holds nobody else up.
        normal = await asyncio.to_thread(
            checked_new_password, given, (profile.email, profile.firstname, profile.lastname)
        )
        async with self._passwords.turn() as turn:
            return await turn.hash(normal)


async def _found(connection: AsyncConnection, tenant: str, user_id: str, *, lock: bool = False) -> SealedUser:
    found = await store.find_user(connection, tenant, user_id, lock=lock)
    if found is None:
        raise UserNotFound("There is no such user.")
    return found


async def _need_others(
    connection: AsyncConnection, tenant: str, user_id: str, by: Actor, *, ends_operator: bool
) -> None:
    """An operator must be left who can undo what this one does on the pages."""
    if by.kind != "operator":
        return
    if by.name == user_id:
        raise OwnAccountMeant("This is your own account. Ask another operator.")
    # All of them are locked, in one order: two operators cannot end one another at the same time.
    if ends_operator and await store.lock_operators(connection, tenant) == [user_id]:
        raise LastOperator("This is the last operator who can sign in.")


def _need_within_reach(user: SealedUser | None, by: Actor) -> None:
    """Tenant admins and operators are out of a client's reach."""
    if user is not None and user.roles and by.kind == "client":
        raise PrivilegedUser("This user has a role. Only an operator with shell access changes such a user.")
