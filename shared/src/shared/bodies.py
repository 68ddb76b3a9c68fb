"""How a request's body is taken: after the caller is known, no longer than agreed, in good time, and unambiguous.

FastAPI reads a body before it runs the dependencies of a route, and waits for it as long as it takes. Here the
dependencies that find out who calls run before the first byte is waited for, and a body that trickles is given up.

A single route that takes more, such as an import, declares its limit with FastAPI's `max_body_size`. FastAPI's own
limit for a whole application answers outside of the frame: in plain text, without a request id, and as an error that
nobody had thought of.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from fastapi.dependencies.models import Dependant
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import Malformed, PayloadTooLarge, Refusal, TooSlow

#: Bodies whose members may repeat nothing.
_JSON: Final = (b"application/json", b"+json")
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}

Check = Callable[[Request], Awaitable[object]]


class RepeatedMember(Malformed):
    code = "repeated_member"


class RefusedWhileReading(HTTPException):
    """Carries a refusal out of the reading of a body: the one kind of exception that FastAPI lets through there."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(400)
        self.refusal = refusal


def before_body(check: Check) -> Check:
    """Marks a dependency that is to run before a body is waited for. It may run again with the others."""
    check.runs_before_body = True  # type: ignore[attr-defined]
    return check


class _Repetition(Exception):
    pass


def refuse_repeated_members(body: bytes, found: int | None = None) -> None:
    """Refuses JSON in which one object names a member twice: readers differ in which of the two they believe.

    What is no JSON at all is left to the one who reads it.

    Args:
        found: as of `repeated_member`.

    Raises:
        RepeatedMember: names the member.
    """
    repeated = repeated_member(body, found)
    if repeated is not None:
        raise RepeatedMember("The body names a member twice.", errors=[{"field": repeated, "message": "Repeated"}])


def repeated_member(text: bytes, found: int | None = None) -> str | None:
    """The first letters of a member that one object of this JSON names twice.

    Args:
        found: members that were found by who read it already; with so many there is mostly no need to look.
    """
    # A member is a colon at least: with no more of them than members that were found, none can be repeated.
    if found is not None and text.count(b":") - text.count(b"://") <= found:
        return None
    try:
        json.loads(text, object_pairs_hook=_without_repetition)
    except _Repetition as repetition:
        return str(repetition)[:64]
    except (ValueError, RecursionError):
        pass
    return None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Repetition(next(name for name in names if names.count(name) > 1))
    return members


class Bodies:
    """Passes bodies on as described above.

    Args:
        max_body_bytes: the longest body, unless the route takes more.
        idle_seconds: between two pieces.
        seconds: for the whole, unless the route takes more than `max_body_bytes`: then it is a stream.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, idle_seconds: float, seconds: float) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._idle_seconds = idle_seconds
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = _Body(scope, receive, self._max_body_bytes, self._idle_seconds, self._seconds)
        return await self._app(scope, body.receive, send)


class _Body:
    """The body of one request."""

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int, idle_seconds: float, seconds: float) -> None:
        self._scope = scope
        self._receive = receive
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._seconds = seconds
        self._ends_at: float | None = None
        self._taken = 0
        self._begun = self._complete = False
        self._json: list[bytes] | None = [] if _is_json(scope) else None

    async def receive(self) -> Message:
        if self._complete:
            # The next call asks when the caller disconnects.
            return await self._receive()
        try:
            return await self._next()
        except Refusal as refusal:
            raise RefusedWhileReading(refusal) from None

    async def _next(self) -> Message:
        limit = self._scope.get(MAX_BODY_SIZE_SCOPE_KEY, self._max_bytes)
        if not self._begun:
            self._begun = True
            # The server does not end what has no end.
            self._scope.setdefault("state", {})["is_stream"] = limit > self._max_bytes
            for check in _checks_of(self._scope.get("route")):
                await check(Request(self._scope))
            # Of a body that says by itself that it is too long, nothing is read.
            if _declared_length(self._scope) > limit:
                raise _too_long()
        message = await self._in_time(is_stream=limit > self._max_bytes)
        body = message.get("body", b"")
        self._taken += len(body)
        if self._taken > limit:
            raise _too_long()
        if self._json is not None:
            self._json.append(body)
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._complete = True
            if self._json is not None and message["type"] == "http.request":
                refuse_repeated_members(b"".join(self._json))
                self._json = None
        return message

    async def _in_time(self, *, is_stream: bool) -> Message:
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        by = now + self._idle_seconds if is_stream else min(self._ends_at, now + self._idle_seconds)
        try:
            async with asyncio.timeout_at(by):
                return await self._receive()
        except TimeoutError:
            if is_stream:
                # It may have been answered in part already: as if the caller had gone, which readers of streams know.
                self._complete = True
                return dict(_DISCONNECT)
            raise TooSlow("The request body did not come in time.") from None


def _checks_of(route: Any) -> tuple[Check, ...]:
    """The marked dependencies of a route; kept on the route itself, which cannot be the key of a dictionary."""
    checks: tuple[Check, ...] | None = getattr(route, "checks_before_body", None)
    if checks is None:
        dependant = getattr(route, "dependant", None)
        if dependant is None:
            return ()
        checks = route.checks_before_body = tuple(_walk(dependant))
    return checks


def _walk(dependant: Dependant) -> Iterator[Check]:
    for below in dependant.dependencies:
        if getattr(below.call, "runs_before_body", False):
            yield below.call  # type: ignore[misc]
        yield from _walk(below)


def _too_long() -> PayloadTooLarge:
    return PayloadTooLarge("The request body is too long.")


def _is_json(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bool(value.partition(b";")[0].strip().lower().endswith(_JSON))
    return False


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        # Of more digits than that, the server has made no request.
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0
