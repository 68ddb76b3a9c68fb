"""Use cases about registering."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shared.db import Database
from shared.errors import Unavailable
from shared.rate_limits import RateLimit
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.clock import Clock
from partner_onboarding.handshake.handshakes.domain import BASE58, Handshake
from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.registrations import store
from partner_onboarding.handshake.registrations.domain import USER_ID_CHARACTERS, Applicant, mistakes
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.sign_in.service import SignIn, attempt_at
from partner_onboarding.register.sign_in.throttle import Attempt, SignInThrottle
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import MalformedUser, SealedUser, checked_profile, normalised_password
from partner_onboarding.register.users.passwords import PasswordHashing
from partner_onboarding.register.users.profiles import Profiles

_DRAWS: Final = 3


class _IdTaken(Exception):
    """The random id for a new user is taken."""


class Mistakes(Exception):
    """The form has mistakes; `by_field` names them."""

    def __init__(self, by_field: Mapping[str, str]) -> None:
        super().__init__(", ".join(by_field))
        self.by_field = by_field


@dataclass(frozen=True, slots=True)
class Registered:
    """Somebody who is new, or known by the address and the password that were given.

    Without `is_signed_in`, the person still owes a code of the second factor.
    """

    cookie: str
    tenant: str
    user_id: str
    is_new: bool
    is_signed_in: bool


class Registrations:
    """Makes accounts.

    Args:
        versions: document → its present version.
        per_address, per_email: the rate limits.
    """

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        passwords: PasswordHashing,
        sessions: Sessions,
        sign_in: SignIn,
        throttle: SignInThrottle,
        handshakes: Handshakes,
        clock: Clock,
        *,
        versions: Mapping[str, str],
        per_address: RateLimit,
        per_email: RateLimit,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._sessions = sessions
        self._sign_in = sign_in
        self._throttle = throttle
        self._handshakes = handshakes
        self._clock = clock
        self._versions = versions
        self._per_address = per_address
        self._per_email = per_email

    async def register(
        self,
        register_code: str,
        handshake: Handshake,
        applicant: Applicant,
        *,
        language: str,
        address: str | None,
        former: str | None,
    ) -> Registered:
        """Makes an account at the partner's tenant, reserves the code for it, and signs the person in.

        The answer does not show whether the address is known. An owner of the address gets a mail; the new account only
        claims it until somebody opens the link that is mailed there. If the password is that of a known account, the
        person gets that account.

        Args:
            address: the network address of the browser.
            former: the browser's present session cookie; that session ends.

        Raises:
            Mistakes
            TooManyRequests: from this address or for this e-mail address.
            UnknownCode, ForeignCode, UsedCode, ExpiredCode, PartnerGone
        """
        if address is not None:
            await self._per_address.count(address)
        personal = (handshake.partner_name, handshake.tenant_name)
        # In a thread, so that judging a password delays no other request.
        found = await asyncio.to_thread(mistakes, applicant, personal)
        if found:
            raise Mistakes(found)
        email_hash = self._profiles.email_hash(applicant.email)
        await self._per_email.count(handshake.tenant, hashlib.sha256(email_hash).hexdigest())
        known, password_hash = await self._known(handshake.tenant, email_hash, applicant.password, address)
        recognised = None if known is None else await self._recognise(known, former)
        if recognised is not None:
            return recognised
        # If the id is taken, another one is drawn; with 70 random bits that hardly happens.
        for _ in range(_DRAWS):
            with suppress(_IdTaken):
                return await self._add(
                    register_code, handshake.tenant, applicant, email_hash, password_hash, language, former
                )
        raise Unavailable(log="no user id that is free")

    async def again(
        self, register_code: str, applicant: Applicant, *, address: str | None, former: str | None
    ) -> Registered | None:
        """The person who used the code, if the same form comes a second time after a double click.

        Raises:
            TooManyRequests: for this e-mail address, or too many wrong passwords for its account.
        """
        handshake = await self._handshakes.peek(register_code)
        if handshake is None or handshake.user_id is None or not applicant.email or not applicant.password:
            return None
        async with self._database.transaction() as connection:
            user = await users_store.find_user(connection, handshake.tenant, handshake.user_id)
        if user is None or user.password_hash is None or user.disabled_at is not None:
            return None
        try:
            email_hash = self._profiles.email_hash(applicant.email)
            await self._per_email.count(handshake.tenant, hashlib.sha256(email_hash).hexdigest())
        except MalformedUser:
            return None
        attempt = attempt_at(user, address)
        async with self._passwords.turn() as turn:
            await self._throttle.check(attempt)
            fits = any(await turn.which_match(normalised_password(applicant.password), [user.password_hash]))
            if not fits:
                await self._throttle.count_wrong(attempt)
        return await self._recognise(user, former) if fits and email_hash == user.email_hash else None

    async def _known(
        self, tenant: str, email_hash: bytes, given: str, address: str | None
    ) -> tuple[SealedUser | None, str]:
        """The account with this password, if there is one, and a hash of it, after the same work in either case.

        A password that fits none counts as a guess at each account of the address, as at the sign-in, and at the
        address itself if it has none.

        Raises:
            TooManyAttempts
        """
        async with self._database.transaction() as connection:
            everywhere = await users_store.users_with_email(connection, email_hash)
        here = [user for user in everywhere if user.tenant == tenant]
        candidates = [
            (user, user.password_hash) for user in here if user.password_hash is not None and user.disabled_at is None
        ]
        attempts = [attempt_at(user, address) for user in here] or [Attempt(email_hash.hex(), address)]
        password = normalised_password(given)
        async with self._passwords.turn() as turn:
            for attempt in attempts:
                await self._throttle.check(attempt)
            even_if_right = not all(user.owns_email for user in here)
            matches = await turn.which_match(password, [kept for _, kept in candidates], even_if_right=even_if_right)
            password_hash = await turn.hash(password)
            if not any(matches):
                for attempt in attempts:
                    await self._throttle.count_wrong(attempt)
        return next((user for (user, _), fits in zip(candidates, matches, strict=True) if fits), None), password_hash

    async def _recognise(self, user: SealedUser, former: str | None) -> Registered | None:
        async with self._database.transaction() as connection:
            started = await self._sign_in.recognised(connection, user, former)
        if started is None:
            return None
        return Registered(started.cookie, user.tenant, user.user_id, is_new=False, is_signed_in=started.awaits is None)

    async def _add(
        self,
        register_code: str,
        tenant: str,
        applicant: Applicant,
        email_hash: bytes,
        password_hash: str,
        language: str,
        former: str | None,
    ) -> Registered:
        user_id = "".join(secrets.choice(BASE58) for _ in range(USER_ID_CHARACTERS))
        profile = checked_profile(applicant.email, applicant.firstname, applicant.lastname)
        async with self._database.transaction() as connection:
            now = await self._clock(connection)
            # First, so that a second person with the same code leaves no account behind.
            await self._handshakes.claim(connection, register_code, tenant, user_id)
            added = await users_store.add_user(
                connection,
                tenant,
                user_id,
                email_hash=email_hash,
                profile=self._profiles.seal(tenant, user_id, profile),
                password_hash=password_hash,
                owns_email=False,
            )
            if added is None:
                raise _IdTaken
            actor = Actor("user", user_id)
            change = Change(None, {"roles": [], "owns_email": False})
            versions = dict(self._versions)
            await audit_store.add(connection, tenant, actor, "user_registered", user_id, versions, change=change)
            await store.add_agreements(connection, tenant, user_id, self._versions, language, now)
            kind: Kind = "address_known" if await self._has_owner(connection, tenant, email_hash) else "confirm_address"
            await notices_store.add(connection, tenant, user_id, kind, language)
            cookie = await self._sessions.begin(connection, tenant, user_id, former)
        return Registered(cookie, tenant, user_id, is_new=True, is_signed_in=True)

    async def _has_owner(self, connection: AsyncConnection, tenant: str, email_hash: bytes) -> bool:
        users: Sequence[SealedUser] = await users_store.users_with_email(connection, email_hash)
        return any(user.tenant == tenant and user.owns_email for user in users)
