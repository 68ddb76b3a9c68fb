"""The use cases of a forgotten password."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from shared.db import Database
from shared.errors import Unavailable
from shared.rate_limits import RateLimit

from partner_onboarding.clock import database_clock
from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, unsaid
from partner_onboarding.register.notices import links
from partner_onboarding.register.notices import store as notices_store
from partner_onboarding.register.notices.domain import Kind
from partner_onboarding.register.notices.links import LinkToken, UnknownMailedLink, read_token
from partner_onboarding.register.password_resets.domain import LIFETIME
from partner_onboarding.register.sessions import store as sessions_store
from partner_onboarding.register.sign_in.service import attempt_at
from partner_onboarding.register.sign_in.throttle import SignInThrottle
from partner_onboarding.register.users import store as users_store
from partner_onboarding.register.users.domain import SealedUser
from partner_onboarding.register.users.new_passwords import checked_new_password
from partner_onboarding.register.users.passwords import PasswordHashing
from partner_onboarding.register.users.profiles import Profiles

_KIND: Final[Kind] = "password_forgotten"
_WAITING_AT_MOST: Final = 10_000


class _Request(NamedTuple):
    email_hash: bytes
    language: str


class PasswordResets:
    """Links to another password.

    Args:
        limit: counts requests by network.
    """

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        passwords: PasswordHashing,
        throttle: SignInThrottle,
        limit: RateLimit,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._passwords = passwords
        self._throttle = throttle
        self._limit = limit
        self._waiting: deque[_Request] = deque()
        self._mailing = asyncio.Lock()

    async def request(self, email: str, *, language: str, network: str | None) -> None:
        """Somebody forgot the password of this address.

        The accounts are looked up later, by `mail_links`: neither the answer nor its time tells who has one.

        Raises:
            MalformedUser: `email` is no address.
            TooManyRequests: from this network.
            Unavailable: too many wait for the database.
        """
        wanted = _Request(self._profiles.email_hash(email), language)
        await self._limit.count(network or "unknown")
        if len(self._waiting) >= _WAITING_AT_MOST:
            raise Unavailable(log="too many forgotten passwords wait")
        self._waiting.append(wanted)

    async def mail_links(self) -> int:
        """Requests the mails of all who waited; returns how many had waited.

        A crash loses the requests of the last second. People press again.
        """
        # One at a time, so that the one that takes a request is the one that drops it.
        async with self._mailing:
            waiting = len(self._waiting)
            for _ in range(waiting):
                # It stays first in line until its mails are written: a database that is away loses none.
                await self._mail_link(self._waiting[0])
                self._waiting.popleft()
            return waiting

    async def _mail_link(self, wanted: _Request) -> None:
        async with self._database.transaction() as connection:
            now = await database_clock(connection)
            for user in await users_store.users_with_email(connection, wanted.email_hash):
                if user.disabled_at is not None:
                    continue
                if await links.may_mail(connection, user.tenant, user.user_id, _KIND, now):
                    await notices_store.add(connection, user.tenant, user.user_id, _KIND, wanted.language)

    async def check_link(self, token: str) -> None:
        """Raises UnknownMailedLink if the link leads nowhere. Nothing is used up."""
        await self._find(read_token(token))

    async def reset(self, token: str, new: str, *, language: str, network: str | None) -> None:
        """Sets another password, once for each link, and ends all sessions.

        Nobody is signed in by it: a second factor is still asked for.

        Raises:
            UnknownMailedLink
            UnfitPassword: the rules refuse the new one; the link stays good.
        """
        link = read_token(token)
        user = await self._find(link)
        profile = self._profiles.open(user).profile
        personal = (profile.email, profile.firstname, profile.lastname)
        normal = await asyncio.to_thread(checked_new_password, new, personal)
        async with self._passwords.turn() as turn:
            password_hash = await turn.hash(normal)
        async with self._database.transaction() as connection:
            # Locked first: of two at once with one link, the later finds it ended.
            await users_store.find_user(connection, user.tenant, user.user_id, lock=True)
            mailed = await links.find(connection, link, _KIND, LIFETIME)
            if mailed is None or mailed.user_id != user.user_id:
                raise UnknownMailedLink("This link was used meanwhile.")
            await users_store.change_password(connection, user.tenant, user.user_id, password_hash)
            await sessions_store.end_sessions_of(connection, user.tenant, user.user_id)
            await links.end(connection, user.tenant, user.user_id, _KIND)
            await notices_store.add(connection, user.tenant, user.user_id, "password_changed", language)
            actor = Actor("user", user.user_id)
            change = unsaid(["password"])
            await audit_store.add(connection, user.tenant, actor, "password_reset", user.user_id, change=change)
        # Who forgot a password has typed wrong ones.
        await self._throttle.forgive(attempt_at(user, network))

    async def _find(self, link: LinkToken) -> SealedUser:
        async with self._database.transaction() as connection:
            mailed = await links.find(connection, link, _KIND, LIFETIME)
            user = None if mailed is None else await users_store.find_user(connection, link.tenant, mailed.user_id)
        if user is None or user.disabled_at is not None:
            raise UnknownMailedLink("This link was never mailed to anybody, was used, or is too old.")
        return user
