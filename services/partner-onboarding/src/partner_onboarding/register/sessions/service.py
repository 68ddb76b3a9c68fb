"""The use cases of sessions: begin, check and end them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.second_factors.domain import Awaits
from partner_onboarding.register.sessions import store
from partner_onboarding.register.sessions.domain import (
    HalfSignedIn,
    NoSession,
    OwnSession,
    SessionKey,
    SessionRules,
    SignedIn,
    key_of,
    new_cookie,
)

_HALF_LIFETIME: Final = timedelta(minutes=10)


class Sessions:
    """The sessions of all browsers."""

    def __init__(self, database: Database, rules: SessionRules) -> None:
        self._database = database
        self._rules = rules

    async def begin(
        self,
        connection: AsyncConnection,
        tenant: str,
        user_id: str,
        former: str | None,
        awaits: Awaits | None = None,
    ) -> str:
        """A session for somebody who was recognised in this very transaction. Returns the new cookie.

        Args:
            former: the cookie the browser came with; that session ends.
            awaits: what the person still owes. Such a session opens nothing, and ends after ten minutes.
        """
        cookie, key = new_cookie(tenant)
        former_key = key_of(former) if former is not None else None
        if former_key is not None:
            await store.end_session(connection, former_key)
        lifetime = self._rules.lifetime if awaits is None else _HALF_LIFETIME
        await store.add_session(connection, key, user_id, lifetime, awaits)
        return cookie

    async def check(self, cookie: str) -> SignedIn:
        """The person of the cookie's session.

        Raises:
            NoSession: unknown, ended, or signed out.
        """
        (found,) = await self.check_all([cookie])
        if found is None:
            raise NoSession("Nobody is signed in with this session.")
        return found

    async def check_all(self, cookies: Sequence[str]) -> list[SignedIn | None]:
        """The people of the cookies' sessions, in order; None for each that `check` refuses."""
        keys = [key_of(cookie) for cookie in cookies]
        known = list(dict.fromkeys(key for key in keys if key is not None))
        found = await store.find_sessions(self._database, known, self._rules) if known else {}
        return [None if key is None else found.get(key) for key in keys]

    async def half(self, connection: AsyncConnection, cookie: str) -> HalfSignedIn:
        """Who has given the right password and owes more.

        Raises:
            NoSession: nobody, or the ten minutes are over.
        """
        key = key_of(cookie)
        found = None if key is None else await store.find_half(connection, key)
        if found is None:
            raise NoSession("Nobody is about to sign in with this session.")
        return found

    async def half_signed_in(self, cookie: str) -> HalfSignedIn:
        """Like `half`, in a transaction of its own."""
        async with self._database.transaction() as connection:
            return await self.half(connection, cookie)

    async def sign_out(self, cookie: str) -> None:
        """Ends the session; a repeat is fine."""
        key = key_of(cookie)
        if key is not None:
            async with self._database.transaction() as connection:
                user_id = await store.end_session(connection, key)
                if user_id is not None:
                    actor = Actor("user", user_id)
                    await audit_store.add(connection, key.tenant, actor, "signed_out", user_id)

    async def own(self, who: SignedIn, cookie: str) -> list[OwnSession]:
        """Where the person is signed in, the latest seen first."""
        key = key_of(cookie)
        if key is None:
            return []
        async with self._database.transaction() as connection:
            return await store.running_sessions(connection, key, who.user_id, self._rules)

    async def running(self, tenant: str, user_id: str) -> list[OwnSession]:
        """Where somebody is signed in, as an operator sees it, the latest seen first."""
        async with self._database.transaction() as connection:
            return await store.running_sessions(connection, SessionKey(tenant, b""), user_id, self._rules)

    async def end_others(self, who: SignedIn, cookie: str) -> int:
        """Signs the person out everywhere but in this browser; returns how many sessions ended."""
        key = key_of(cookie)
        if key is None:
            return 0
        async with self._database.transaction() as connection:
            ended = await store.end_other_sessions(connection, key, who.user_id)
            actor, change = Actor("user", who.user_id), Change({"sessions": ended + 1}, {"sessions": 1})
            await audit_store.add(
                connection, who.tenant, actor, "sessions_ended", who.user_id, {"number": ended}, change=change
            )
            return ended

    async def tidy_up(self) -> int:
        """Deletes ended sessions; returns their number."""
        async with self._database.transaction() as connection:
            return await store.delete_ended(connection, self._rules)
