"""The use cases of users."""

from collections.abc import Collection

from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.sessions import store as sessions_store
from partner_onboarding.register.users import store
from partner_onboarding.register.users.domain import (
    ROLES,
    EmailTaken,
    MalformedUser,
    Profile,
    SealedUser,
    User,
    UserNotFound,
    checked_password,
    checked_profile,
)
from partner_onboarding.register.users.passwords import PasswordHashing
from partner_onboarding.register.users.profiles import Profiles


class Users:
    """The users of all tenants."""

    def __init__(self, database: Database, profiles: Profiles, passwords: PasswordHashing) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords

    async def get(self, tenant: str, user_id: str) -> User:
        """Raises UserNotFound, also for a user of another tenant."""
        async with self._database.transaction() as connection:
            found = await store.find_user(connection, tenant, user_id)
        if found is None:
            raise UserNotFound("There is no such user.")
        return self._profiles.open(found)

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
    ) -> tuple[User, bool]:
        """Creates or changes a user; returns the user and whether it is new. A repeat changes nothing.

        Without a password the present one stays; another one ends all sessions of the user. Only a new user gets roles.

        Raises:
            MalformedUser: naming what is wrong.
            EmailTaken: another user of the tenant has this address.
        """
        if not set(roles) <= set(ROLES):
            raise MalformedUser("There is no such role.", code="unknown_role")
        profile = checked_profile(email, firstname, lastname)
        address_hash = self._profiles.email_hash(email)
        password_hash = None
        if password is not None:
            password_hash = await self._hash_of(tenant, user_id, checked_password(password))
        try:
            return await self._set(tenant, user_id, address_hash, profile, password_hash, roles)
        except EmailTaken:
            # Perhaps by this very user, whom another call has added at this moment: then he or she is there now.
            return await self._set(tenant, user_id, address_hash, profile, password_hash, roles)

    async def _set(
        self,
        tenant: str,
        user_id: str,
        address_hash: bytes,
        profile: Profile,
        password_hash: str | None,
        roles: Collection[str],
    ) -> tuple[User, bool]:
        async with self._database.transaction() as connection:
            added = await store.add_user(
                connection,
                tenant,
                user_id,
                email_hash=address_hash,
                profile=self._profiles.seal(tenant, user_id, profile),
                password_hash=password_hash,
                roles=tuple(sorted(set(roles))),
            )
            if added is not None:
                return self._profiles.open(added), True
            changed = await self._change(connection, tenant, user_id, address_hash, profile, password_hash)
            return self._profiles.open(changed), False

    async def _change(
        self,
        connection: AsyncConnection,
        tenant: str,
        user_id: str,
        address_hash: bytes,
        profile: Profile,
        password_hash: str | None,
    ) -> SealedUser:
        former = await store.find_user(connection, tenant, user_id, lock=True)
        if former is None:
            raise UserNotFound("There is no such user.")
        same_password = password_hash in {None, former.password_hash}
        if same_password and profile == self._profiles.open(former).profile:
            return former
        if not same_password:
            await sessions_store.end_sessions_of(connection, tenant, user_id)
        return await store.change_user(
            connection,
            tenant,
            user_id,
            email_hash=address_hash,
            profile=self._profiles.seal(tenant, user_id, profile),
            password_hash=former.password_hash if same_password else password_hash,
        )

    async def _hash_of(self, tenant: str, user_id: str, password: str) -> str:
        """A hash of the password: the stored one, if it matches."""
        async with self._database.transaction() as connection:
            present = await store.find_user(connection, tenant, user_id)
        async with self._passwords.turn() as turn:
            kept = [present.password_hash] if present is not None and present.password_hash is not None else []
            return kept[0] if any(await turn.which_match(password, kept)) else await turn.hash(password)
