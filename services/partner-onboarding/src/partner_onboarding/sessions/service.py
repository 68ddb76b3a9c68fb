"""Use cases about signing in and out."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.sessions import store
from partner_onboarding.sessions.domain import (
    NoSession,
    SessionRules,
    SignedIn,
    WrongPassword,
    key_of,
    new_cookie,
)
from partner_onboarding.sessions.throttle import SignInThrottle
from partner_onboarding.tenants import store as tenants_store
from partner_onboarding.tenants.domain import Tenant
from partner_onboarding.users import store as users_store
from partner_onboarding.users.domain import SealedUser, normalised_password
from partner_onboarding.users.passwords import SIGN_IN_COMPARISONS, PasswordHashing
from partner_onboarding.users.profiles import Profiles

_NO_ACCOUNT = "There is no account with this e-mail address and password."


@dataclass(frozen=True, slots=True)
class Started:
    """A new session; `cookie` is shown to nobody but the browser."""

    cookie: str
    tenant: str
    user_id: str


@dataclass(frozen=True, slots=True)
class _Fitting:
    """An account whose password was given, and its hash at today's cost where the kept one is outdated."""

    user: SealedUser
    new_hash: str | None


@dataclass(frozen=True, slots=True)
class SeveralAccounts:
    """Address and password are right in several tenants: the person has to say which one is meant."""

    tenants: tuple[Tenant, ...]


class Sessions:
    """Who is signed in with which browser."""

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        passwords: PasswordHashing,
        throttle: SignInThrottle,
        rules: SessionRules,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._throttle = throttle
        self._rules = rules

    async def sign_in(
        self, email: str, password: str, *, address: str | None, tenant: str | None = None, former: str | None = None
    ) -> Started | SeveralAccounts:
        """Starts a session for whom address and password belong to.

        The same address may have an account in several tenants. The password decides; where it fits more than
        one, `tenant` does.

        Args:
            address: where the attempt comes from.
            former: the cookie the browser came with; that session ends.

        Raises:
            MalformedUser: `email` is no address.
            WrongPassword: the same answer, after the same work, for an unknown address.
            TooManyAttempts: too many wrong passwords for this account or from this address.
        """
        account = self._profiles.email_hash(email)
        await self._throttle.check(account, address)
        async with self._database.transaction() as connection:
            candidates = [
                user
                for user in await users_store.users_with_email(connection, account)
                if tenant in {None, user.tenant}
            ]
        fitting = await self._fitting(account, address, candidates, normalised_password(password))
        if len(fitting) > 1:
            async with self._database.transaction() as connection:
                found = [await tenants_store.find_tenant(connection, one.user.tenant) for one in fitting]
            return SeveralAccounts(tuple(one for one in found if one is not None))
        return await self._start(fitting[0], former)

    async def _fitting(
        self, account: bytes, address: str | None, candidates: Sequence[SealedUser], password: str
    ) -> list[_Fitting]:
        """Those of the candidates whose password this is, at least one."""
        with_password = [(user, user.password_hash) for user in candidates if user.password_hash is not None]
        async with self._passwords.turn() as turn:
            # Asked again now that it is our turn: of a thousand attempts at once all but a few end here.
            await self._throttle.check(account, address)
            matches = await turn.which_match(
                password,
                [kept for _, kept in with_password],
                at_least=SIGN_IN_COMPARISONS,
                even_if_right=not all(user.owns_email for user in candidates),
            )
            fitting = [
                _Fitting(user, await turn.hash(password) if turn.is_outdated(kept) else None)
                for (user, kept), fits in zip(with_password, matches, strict=True)
                if fits
            ]
            # Of several accounts of one tenant with the same password, the owner of the address is meant.
            fitting = list({one.user.tenant: one for one in reversed(fitting)}.values())[::-1]
            if not fitting:
                await self._throttle.count_wrong(account, address)
                raise WrongPassword(_NO_ACCOUNT)
        await self._throttle.forgive(account)
        return fitting

    async def _start(self, account: _Fitting, former: str | None) -> Started:
        user = account.user
        async with self._database.transaction() as connection:
            present = await users_store.find_user(connection, user.tenant, user.user_id, lock=True)
            if present is None or present.password_hash != user.password_hash:
                # Changed while we compared: whoever knows only the former password stays outside.
                raise WrongPassword(_NO_ACCOUNT)
            if account.new_hash is not None:
                await users_store.replace_password_hash(connection, user.tenant, user.user_id, account.new_hash)
            cookie = await self.begin(connection, user.tenant, user.user_id, former)
        return Started(cookie, user.tenant, user.user_id)

    async def begin(self, connection: AsyncConnection, tenant: str, user_id: str, former: str | None) -> str:
        """A session for somebody who was recognised in this very transaction. Returns the new cookie."""
        cookie, key = new_cookie(tenant)
        former_key = key_of(former) if former is not None else None
        if former_key is not None:
            await store.end_session(connection, former_key)
        await store.add_session(connection, key, user_id, self._rules.lifetime)
        return cookie

    async def check(self, cookie: str) -> SignedIn:
        """Whose session the cookie belongs to.

        Raises:
            NoSession: unknown, ended, or signed out.
        """
        key = key_of(cookie)
        if key is not None:
            async with self._database.transaction() as connection:
                found = await store.find_session(connection, key, self._rules)
            if found is not None:
                return found
        raise NoSession("Nobody is signed in with this session.")

    async def sign_out(self, cookie: str) -> None:
        """Ends the session; one that has ended already is fine."""
        key = key_of(cookie)
        if key is not None:
            async with self._database.transaction() as connection:
                await store.end_session(connection, key)

    async def tidy_up(self) -> int:
        """Deletes sessions that have ended; returns how many."""
        async with self._database.transaction() as connection:
            return await store.delete_ended(connection, self._rules)
