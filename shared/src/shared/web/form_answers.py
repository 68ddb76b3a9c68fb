"""A form that is posted twice is carried out once, and its double gets the first one's answer.

Every form that we give out has a token of its own. Two posts with the same token and the same content are a double
press, a reload, or a browser that tries again; whichever replica they reach, one of them is carried out. A form that
was refused may be posted again: only its doubles under way get the same refusal.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from shared.brief_notes import BriefNotes
from shared.dependencies import provided
from shared.errors import Unavailable
from shared.web.cookies import SESSION, Cookies
from shared.web.forms import FORM_COOKIE, PRESS_FIELD, PROOF_FIELD

Handler = Callable[[Request], Awaitable[Response]]

#: An answer that signs somebody in is given again for this long (seconds): the session may have ended later.
_SIGN_IN_SECONDS: Final = 15.0
_PATIENCE_SECONDS: Final = 20.0
_LOOK_AGAIN_SECONDS: Final = 0.05
#: Forms without a tenant lie under this name, which no tenant has.
_NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer as it goes over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    made_at: float

    @classmethod
    def of(cls, response: Response, now: float) -> "_Kept":
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
        return cls(response.status_code, headers, bytes(response.body), now)

    def to_bytes(self) -> bytes:
        return orjson.dumps([self.status, self.headers, self.body.decode(), self.made_at])

    @classmethod
    def read(cls, note: bytes) -> "_Kept":
        status, headers, body, made_at = orjson.loads(note)
        return cls(status, [(name, value) for name, value in headers], body.encode(), made_at)

    def response(self) -> Response:
        response = Response(self.body, self.status)
        response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        return response

    def signs_in(self, cookie: str) -> bool:
        return any(name.lower() == "set-cookie" and value.startswith(f"{cookie}=") for name, value in self.headers)


class FormAnswers:
    """Carries forms out once.

    Args:
        notes: where answers are kept, sealed: they may carry a session or a secret.
        clock: seconds since the epoch; tests pass their own.
    """

    def __init__(self, notes: BriefNotes, cookies: Cookies, clock: Callable[[], float] = time.time) -> None:
        self.notes = notes
        self._cookies = cookies
        self._clock = clock
        self._under_way: dict[str, asyncio.Future[_Kept]] = {}

    async def once(self, request: Request, handler: Handler) -> Response:
        """The handler's answer to a form, or the first one's to its double."""
        key = await self._key_of(request)
        if key is None:
            return await handler(request)
        first = self._under_way.get(key)
        if first is not None:
            return (await asyncio.shield(first)).response()
        mine: asyncio.Future[_Kept] = asyncio.get_running_loop().create_future()
        self._under_way[key] = mine
        try:
            response = await self._carry_out(key, request, handler)
            mine.set_result(_Kept.of(response, self._clock()))
        except BaseException as error:
            mine.set_exception(error if isinstance(error, Exception) else Unavailable(log="a form was cut short"))
            # Nobody may be waiting for it.
            mine.exception()
            raise
        finally:
            del self._under_way[key]
        return response

    async def _carry_out(self, key: str, request: Request, handler: Handler) -> Response:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not await self.notes.begin(_NOBODY, key):
            # Another replica is at it, or it was done before.
            note = await self.notes.read(_NOBODY, key)
            if note:
                kept = _Kept.read(note)
                if self._may_be_given_again(request, kept):
                    return kept.response()
                await self.notes.remove(_NOBODY, key)
            elif time.monotonic() > until:
                raise Unavailable(log="the first of two equal forms takes too long")
            else:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        try:
            response = await handler(request)
        except BaseException:
            await asyncio.shield(self.notes.remove(_NOBODY, key))
            raise
        if response.status_code < 400:
            await self.notes.write(_NOBODY, key, _Kept.of(response, self._clock()).to_bytes())
        else:
            await self.notes.remove(_NOBODY, key)
        return response

    def _may_be_given_again(self, request: Request, kept: _Kept) -> bool:
        is_fresh = self._clock() - kept.made_at < _SIGN_IN_SECONDS
        return is_fresh or not kept.signs_in(self._cookies.name(request, SESSION))

    async def _key_of(self, request: Request) -> str | None:
        """What two posts of one form have in common; None for a post of no form that we gave to this browser."""
        cookie = self._cookies.read(request, FORM_COOKIE) or self._cookies.read(request, SESSION)
        if not cookie:
            return None
        body = await request.body()
        if not any(f"{field}=".encode() in body for field in (PROOF_FIELD, PRESS_FIELD)):
            return None
        digest = hashlib.sha256()
        for part in (cookie.encode(), request.url.path.encode(), request.url.query.encode(), body):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.hexdigest()


class FormRoute(APIRoute):
    """A route of pages: `APIRouter(route_class=FormRoute)`. What it takes by POST is carried out once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return handler

        async def carry_out_once(request: Request) -> Response:
            if request.method != "POST":
                return await handler(request)
            return await provided(request.app, FormAnswers).once(request, handler)

        return carry_out_once
