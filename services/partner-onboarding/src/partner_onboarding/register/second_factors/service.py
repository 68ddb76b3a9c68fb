"""Use cases about second factors: setting one up, proving it at sign-in, losing it."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from shared.db import Database
from shared.errors import TooManyRequests
from shared.rate_limits import RateLimit
from shared.sealing import Sealer
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding import contexts
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change, unsaid
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.second_factors import store
from partner_onboarding.register.second_factors.domain import (
    Awaits,
    Enrolment,
    NoSecondFactor,
    SecondFactorExists,
    SecondFactorNeeded,
    State,
    TooManyWrongCodes,
    WrongCode,
    enrolment_of,
    fitting_step,
    new_recovery_codes,
    new_secret,
    recovery_hash,
)
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import UserNotFound
from partner_onboarding.register.users.profiles import Profiles

_NOT_THE_CODE: Final = "This is not the code. Take the one that your app shows now, or an unused recovery code."
_ADDED: Final = Change({"has_second_factor": False}, {"has_second_factor": True})
_REMOVED: Final = Change({"has_second_factor": True}, {"has_second_factor": False})
_RENEWED: Final = unsaid(["recovery_codes"])


class SecondFactors:
    """The second factors of all accounts.

    Args:
        key: hashes recovery codes; lies outside the database.
        attempts: wrong codes of one account within a window.
        required: whether accounts with a role must have one.
        site: the name under which an app lists the account.
    """

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        sealer: Sealer,
        key: bytes,
        attempts: RateLimit,
        *,
        required: bool,
        site: str,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._sealer = sealer
        self._key = key
        self._attempts = attempts
        self._required = required
        self._site = site

    async def awaited(
        self, connection: AsyncConnection, tenant: str, user_id: str, roles: Collection[str]
    ) -> Awaits | None:
        """What a sign-in with the right password still waits for."""
        if await store.is_set_up(connection, tenant, user_id):
            return "code"
        return "enrolment" if self.must_have(roles) else None

    def must_have(self, roles: Collection[str]) -> bool:
        """Whether an account with these roles may not be without a second factor."""
        return self._required and bool(roles)

    async def state_of(self, tenant: str, user_id: str) -> State:
        """What the account page shows."""
        async with self._database.transaction() as connection:
            is_set_up = await store.is_set_up(connection, tenant, user_id)
            left = await store.recovery_codes_left(connection, tenant, user_id) if is_set_up else 0
        return State(is_set_up, left)

    async def begin(self, tenant: str, user_id: str) -> Enrolment:
        """A new secret, which counts once a code of it was given.

        Raises:
            SecondFactorExists
        """
        secret = new_secret()
        async with self._database.transaction() as connection:
            user = await users_store.find_user(connection, tenant, user_id)
            if user is None:
                raise UserNotFound("There is no such user.")
            sealed = self._sealer.seal(secret.encode(), contexts.second_factor(tenant, user_id))
            if not await store.begin(connection, tenant, user_id, sealed):
                raise SecondFactorExists("This account has a second factor already.")
        return enrolment_of(secret, account=self._profiles.open(user).profile.email, issuer=self._site)

    async def begun(self, tenant: str, user_id: str) -> Enrolment:
        """The set-up that has begun, to be shown once more.

        Raises:
            NoSecondFactor: none has begun.
        """
        async with self._database.transaction() as connection:
            user = await users_store.find_user(connection, tenant, user_id)
            found = await store.find(connection, tenant, user_id)
        if user is None or found is None or found.is_confirmed:
            raise NoSecondFactor("The set-up has not begun.")
        secret = self._open(tenant, user_id, found.secret)
        return enrolment_of(secret, account=self._profiles.open(user).profile.email, issuer=self._site)

    async def confirm(self, tenant: str, user_id: str, given: str, *, actor: Actor, language: str) -> list[str]:
        """The app shows the right code, so the factor counts from now on. Returns the recovery codes, this once.

        Raises:
            NoSecondFactor: the set-up has not begun, or is confirmed already.
            WrongCode, TooManyWrongCodes
        """
        await self.check_attempts(tenant, user_id)
        codes = new_recovery_codes()
        async with self._database.transaction() as connection:
            found = await store.find(connection, tenant, user_id, lock=True)
            if found is None or found.is_confirmed:
                raise NoSecondFactor("The set-up has not begun, or is done.")
            now = await _now(connection)
            step = fitting_step(self._open(tenant, user_id, found.secret), given, now, after=found.last_step)
            if step is not None:
                hashes = self._hashes(tenant, user_id, codes)
                await store.confirm(connection, tenant, user_id, step, hashes)
                await audit_store.add(connection, tenant, actor, "second_factor_added", user_id, change=_ADDED)
                await notices_store.add(connection, tenant, user_id, "second_factor_added", language)
        if step is None:
            await self._attempts.note(tenant, user_id)
            raise WrongCode(_NOT_THE_CODE)
        return codes

    async def prove(self, connection: AsyncConnection, tenant: str, user_id: str, given: str) -> bool:
        """Whether the code fits; a code that does is used up in the transaction of `connection`.

        `given` is what an authenticator app shows, or a recovery code. Count a failure with `count_wrong`, outside of
        the transaction.
        """
        found = await store.find(connection, tenant, user_id, lock=True)
        if found is None or not found.is_confirmed:
            return False
        now = await _now(connection)
        step = fitting_step(self._open(tenant, user_id, found.secret), given, now, after=found.last_step)
        if step is not None:
            await store.use_step(connection, tenant, user_id, step)
            return True
        code_hash = recovery_hash(self._key, tenant, user_id, given)
        return code_hash is not None and await store.use_recovery_code(connection, tenant, user_id, code_hash)

    async def count_wrong(self, tenant: str, user_id: str) -> None:
        """Counts a wrong code."""
        await self._attempts.note(tenant, user_id)

    async def renew_codes(self, tenant: str, user_id: str, given: str, *, actor: Actor) -> list[str]:
        """New recovery codes, shown this once; the former ones end.

        Raises:
            WrongCode, TooManyWrongCodes
        """
        await self.check_attempts(tenant, user_id)
        codes = new_recovery_codes()
        async with self._database.transaction() as connection:
            fits = await self.prove(connection, tenant, user_id, given)
            if fits:
                hashes = self._hashes(tenant, user_id, codes)
                await store.replace_recovery_codes(connection, tenant, user_id, hashes)
                await audit_store.add(connection, tenant, actor, "recovery_codes_renewed", user_id, change=_RENEWED)
        if not fits:
            await self._attempts.note(tenant, user_id)
            raise WrongCode(_NOT_THE_CODE)
        return codes

    async def remove(
        self, tenant: str, user_id: str, given: str, roles: Collection[str], *, actor: Actor, language: str
    ) -> None:
        """The owner gives it up, with a code.

        Raises:
            SecondFactorNeeded: accounts with a role must have one.
            WrongCode, TooManyWrongCodes
        """
        if self.must_have(roles):
            raise SecondFactorNeeded("This account has a role, and must have a second factor.")
        await self.check_attempts(tenant, user_id)
        async with self._database.transaction() as connection:
            fits = await self.prove(connection, tenant, user_id, given)
            if fits:
                await self._remove(connection, tenant, user_id, actor, language)
        if not fits:
            await self._attempts.note(tenant, user_id)
            raise WrongCode(_NOT_THE_CODE)

    async def reset(self, tenant: str, user_id: str, *, actor: Actor) -> bool:
        """An operator takes it away from somebody who lost telephone and codes; False when there was none.

        Raises:
            UserNotFound
        """
        async with self._database.transaction() as connection:
            if await users_store.find_user(connection, tenant, user_id) is None:
                raise UserNotFound("There is no such user.")
            return await self._remove(connection, tenant, user_id, actor, "en")

    async def _remove(
        self, connection: AsyncConnection, tenant: str, user_id: str, actor: Actor, language: str
    ) -> bool:
        removed = await store.remove(connection, tenant, user_id)
        if removed:
            await audit_store.add(connection, tenant, actor, "second_factor_removed", user_id, change=_REMOVED)
            await notices_store.add(connection, tenant, user_id, "second_factor_removed", language)
        return removed

    async def check_attempts(self, tenant: str, user_id: str) -> None:
        """Raises TooManyWrongCodes after too many wrong codes for this account."""
        try:
            await self._attempts.check(tenant, user_id)
        except TooManyRequests as refusal:
            raise TooManyWrongCodes(
                "Too many wrong codes. Please wait before you try again.",
                retry_after_seconds=refusal.retry_after_seconds or 1,
                limit=refusal.limit,
            ) from None

    def _open(self, tenant: str, user_id: str, sealed: bytes) -> str:
        return self._sealer.open(sealed, contexts.second_factor(tenant, user_id)).decode()

    def _hashes(self, tenant: str, user_id: str, codes: Collection[str]) -> list[bytes]:
        hashes = [recovery_hash(self._key, tenant, user_id, code) for code in codes]
        return [one for one in hashes if one is not None]


async def _now(connection: AsyncConnection) -> datetime:
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now
