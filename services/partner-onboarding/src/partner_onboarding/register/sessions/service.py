"""The use cases of sessions: begin, check and end them."""

from shared.db import Database
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.sessions import store
from partner_onboarding.register.sessions.domain import NoSession, SessionRules, SignedIn, key_of, new_cookie


class Sessions:
    """The sessions of all browsers."""

    def __init__(self, database: Database, rules: SessionRules) -> None:
        self._database = database
        self._rules = rules

    async def begin(self, connection: AsyncConnection, tenant: str, user_id: str, former: str | None) -> str:
        """Begins a session for a person who was authenticated in this transaction. Returns the cookie."""
        cookie, key = new_cookie(tenant)
        former_key = key_of(former) if former is not None else None
        if former_key is not None:
            await store.end_session(connection, former_key)
        await store.add_session(connection, key, user_id, self._rules.lifetime)
        return cookie

    async def check(self, cookie: str) -> SignedIn:
        """The person of the cookie's session.

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
        """Ends the session; a repeat is fine."""
        key = key_of(cookie)
        if key is not None:
            async with self._database.transaction() as connection:
                await store.end_session(connection, key)

    async def tidy_up(self) -> int:
        """Deletes ended sessions; returns their number."""
        async with self._database.transaction() as connection:
            return await store.delete_ended(connection, self._rules)
