"""The use case of signing in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.second_factors.domain import Awaits, WrongCode
from partner_onboarding.register.second_factors.service import SecondFactors
from partner_onboarding.register.sessions.domain import HalfSignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.devices import Devices
from partner_onboarding.register.sign_in.domain import TooManyAttempts, WrongPassword
from partner_onboarding.register.sign_in.failures import FailedSignIns
from partner_onboarding.register.sign_in.throttle import Attempt, SignInThrottle
from partner_onboarding.register.tenants import store as tenants_store
from partner_onboarding.register.tenants.domain import Tenant
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import SealedUser, normalised_password
from partner_onboarding.register.users.passwords import SIGN_IN_COMPARISONS, PasswordHashing
from partner_onboarding.register.users.profiles import Profiles

_NO_ACCOUNT = "There is no account with this e-mail address and password."


@dataclass(frozen=True, slots=True)
class Started:
    """A new session; `cookie` is shown to nobody but the browser. With `awaits`, it opens nothing yet."""

    cookie: str
    tenant: str
    user_id: str
    awaits: Awaits | None = None
    #: The cookie by which the browser is a known device from now on.
    device: str | None = None


@dataclass(frozen=True, slots=True)
class _Fitting:
    """An account with this password, and a hash at today's cost if the stored one is outdated."""

    user: SealedUser
    new_hash: str | None


@dataclass(frozen=True, slots=True)
class SeveralAccounts:
    """Address and password are right in several tenants; the person has to choose one."""

    tenants: tuple[Tenant, ...]


#: What a password is tried at: each account of an address, or nothing under the name of the address.
Tries = Mapping[Attempt, SealedUser | None]


def attempt_at(user: SealedUser, network: str | None, device: str | None = None) -> Attempt:
    """A try at the account of a user."""
    return Attempt(f"{user.tenant}/{user.user_id}", network, device)


class SignIn:
    """Starts sessions for people who know their password."""

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        passwords: PasswordHashing,
        throttle: SignInThrottle,
        sessions: Sessions,
        second_factors: SecondFactors,
        devices: Devices,
        failures: FailedSignIns,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions
        self._second_factors = second_factors
        self._devices = devices
        self._failures = failures

    async def with_password(
        self,
        email: str,
        password: str,
        *,
        address: str | None,
        tenant: str | None = None,
        former: str | None = None,
        device: str | None = None,
    ) -> Started | SeveralAccounts:
        """Starts a session for the person with this address and password.

        An address may have accounts in several tenants. The password decides, and `tenant` if it fits several.

        Args:
            address: the network address of the browser.
            former: the browser's present session cookie; that session ends.
            device: the browser's cookie as a known device.

        Raises:
            MalformedUser: `email` is no address.
            WrongPassword: an unknown address gets the same answer after the same work.
            TooManyAttempts: too many wrong passwords for this account or from this address.
        """
        email_hash = self._profiles.email_hash(email)
        async with self._database.transaction() as connection:
            candidates = [
                user
                for user in await users_store.users_with_email(connection, email_hash)
                if tenant in {None, user.tenant}
            ]
        attempts = {attempt_at(user, address, self._devices.known(user, device)): user for user in candidates}
        # An address of no account is counted in the same way.
        tries: Tries = attempts or {Attempt(email_hash.hex(), address): None}
        fitting = await self._fitting(tries, address, normalised_password(password))
        if len(fitting) > 1:
            async with self._database.transaction() as connection:
                found = [await tenants_store.find_tenant(connection, one.user.tenant) for one in fitting]
            return SeveralAccounts(tuple(one for one in found if one is not None))
        return await self._start(fitting[0], former, device)

    async def _fitting(self, tries: Tries, address: str | None, password: str) -> list[_Fitting]:
        """The accounts with this password, at least one."""
        await self._allowed(tries)
        async with self._passwords.turn() as turn:
            # Checked again when the turn comes, so that most of a thousand attempts at once end here.
            allowed = await self._allowed(tries)
            with_password = [
                (attempt, user, user.password_hash)
                for attempt, user in allowed.items()
                if user is not None and user.password_hash is not None and user.disabled_at is None
            ]
            matches = await turn.which_match(
                password,
                [kept for _, _, kept in with_password],
                at_least=SIGN_IN_COMPARISONS,
                even_if_right=not all(user.owns_email for user in tries.values() if user is not None),
            )
            fitting = [
                (attempt, _Fitting(user, await turn.hash(password) if turn.is_outdated(kept) else None))
                for (attempt, user, kept), fits in zip(with_password, matches, strict=True)
                if fits
            ]
            if not fitting:
                await self._count_wrong(allowed, address)
                raise WrongPassword(_NO_ACCOUNT)
        for attempt, _ in fitting:
            await self._throttle.forgive(attempt)
        # If several accounts of a tenant have this password, the owner of the address comes first.
        return list({one.user.tenant: one for _, one in reversed(fitting)}.values())[::-1]

    async def _allowed(self, tries: Tries) -> Tries:
        """The accounts at which nobody has guessed too often.

        Raises:
            TooManyAttempts: there is none.
        """
        allowed: dict[Attempt, SealedUser | None] = {}
        refused: TooManyAttempts | None = None
        for attempt, user in tries.items():
            try:
                await self._throttle.check(attempt)
            except TooManyAttempts as refusal:
                refused = refusal
            else:
                allowed[attempt] = user
        if not allowed and refused is not None:
            self._failures.count("too_many_attempts")
            raise refused
        return allowed

    async def _count_wrong(self, tries: Tries, address: str | None) -> None:
        self._failures.count("wrong_password")
        for attempt, user in tries.items():
            await self._throttle.count_wrong(attempt)
            if user is not None:
                self._failures.note(user)
        if not any(attempt.device for attempt in tries):
            await self._throttle.count_network(address)

    async def _start(self, account: _Fitting, former: str | None, device: str | None) -> Started:
        user = account.user
        async with self._database.transaction() as connection:
            started = await self.recognised(connection, user, former)
            if started is None:
                raise WrongPassword(_NO_ACCOUNT)
            if account.new_hash is not None:
                await users_store.replace_password_hash(connection, user.tenant, user.user_id, account.new_hash)
        with_present_hash = replace(user, password_hash=account.new_hash or user.password_hash)
        return replace(started, device=self._devices.cookie_for(with_present_hash, device))

    async def recognised(self, connection: AsyncConnection, user: SealedUser, former: str | None) -> Started | None:
        """A session for somebody whose password was right just now.

        None if it is no longer: comparing takes its time, and the password was changed, or the account disabled or
        deleted meanwhile. Every way that ends with a password goes through here: none passes a second factor by.
        """
        present = await users_store.find_user(connection, user.tenant, user.user_id, lock=True)
        if present is None or present.password_hash != user.password_hash or present.disabled_at is not None:
            return None
        awaits = await self._second_factors.awaited(connection, user.tenant, user.user_id, present.roles)
        cookie = await self._sessions.begin(connection, user.tenant, user.user_id, former, awaits)
        actor, details = Actor("user", user.user_id), {"awaits": awaits}
        await audit_store.add(connection, user.tenant, actor, "signed_in", user.user_id, details)
        return Started(cookie, user.tenant, user.user_id, awaits)

    async def with_code(self, cookie: str, given: str) -> Started:
        """The second step: a whole session in place of the half one.

        Raises:
            NoSession: nobody has given the right password within the last ten minutes.
            WrongCode, TooManyWrongCodes
        """
        half = await self._sessions.half_signed_in(cookie)
        await self._second_factors.check_attempts(half.tenant, half.user_id)
        async with self._database.transaction() as connection:
            await self._still_half(connection, half, cookie)
            if await self._second_factors.prove(connection, half.tenant, half.user_id, given):
                whole = await self._sessions.begin(connection, half.tenant, half.user_id, cookie)
                actor, details = Actor("user", half.user_id), {"second_factor": True}
                await audit_store.add(connection, half.tenant, actor, "signed_in", half.user_id, details)
                return Started(whole, half.tenant, half.user_id)
        await self._second_factors.count_wrong(half.tenant, half.user_id)
        async with self._database.transaction() as connection:
            actor, details = Actor("user", half.user_id), {"second_factor": False}
            await audit_store.add(connection, half.tenant, actor, "sign_in_failed", half.user_id, details)
        raise WrongCode("This is not the code. Take the one that your app shows now, or an unused recovery code.")

    async def after_enrolment(self, cookie: str) -> Started:
        """A whole session for somebody who had to set up a second factor first, and has done so.

        Raises:
            NoSession
        """
        half = await self._sessions.half_signed_in(cookie)
        async with self._database.transaction() as connection:
            await self._still_half(connection, half, cookie)
            whole = await self._sessions.begin(connection, half.tenant, half.user_id, cookie)
        return Started(whole, half.tenant, half.user_id)

    async def _still_half(self, connection: AsyncConnection, half: HalfSignedIn, cookie: str) -> None:
        """Raises NoSession if the person's sessions have ended; locked, so that nobody ends them from now on."""
        await users_store.find_user(connection, half.tenant, half.user_id, lock=True)
        await self._sessions.half(connection, cookie)
