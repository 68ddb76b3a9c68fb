"""The shop's own sessions: a signed cookie in the browser, everything else here."""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256

from rewards_shop.platform_client import Clock
from rewards_shop.store import Store
from rewards_shop.tokens import Visitor


@dataclass(frozen=True)
class Session:
    visitor: Visitor
    csrf_token: str
    """Goes into every form; only this session's pages know it."""


class Sessions:
    """Sessions that end by themselves. Only a digest of the id is kept, so that the file opens no session."""

    def __init__(self, store: Store, *, secret: str, seconds: int, clock: Clock) -> None:
        self._store = store
        self._secret = secret.encode()
        self._seconds = seconds
        self._clock = clock

    async def open(self, visitor: Visitor, former_cookie: str | None) -> str:
        """A session under a new id; the one the browser had ends. Returns the cookie's value."""
        if former_id := self._session_id(former_cookie):
            await self._store.close_session(_digest(former_id))
        session_id = secrets.token_urlsafe(32)
        now = self._clock()
        await self._store.open_session(_digest(session_id), visitor, now=now, expires_at=now + self._seconds)
        return f"{session_id}.{self._sign('cookie', session_id)}"

    async def find(self, cookie: str | None) -> Session | None:
        """The session of this cookie, if the shop made it and it is not over."""
        session_id = self._session_id(cookie)
        visitor = await self._store.session(_digest(session_id), now=self._clock()) if session_id else None
        return Session(visitor, self._sign("form", session_id)) if visitor and session_id else None

    def _session_id(self, cookie: str | None) -> str | None:
        session_id, _, signature = (cookie or "").partition(".")
        good = hmac.compare_digest(self._sign("cookie", session_id).encode(), signature.encode())
        return session_id if good else None

    def _sign(self, purpose: str, session_id: str) -> str:
        return hmac.new(self._secret, f"{purpose}:{session_id}".encode(), sha256).hexdigest()


def _digest(session_id: str) -> bytes:
    return sha256(session_id.encode()).digest()
