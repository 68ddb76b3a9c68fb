"""Refuses a body that is too long, in the same form as every other refusal.

FastAPI's own `max_body_size` for an application answers a declared length outside of the frame: in plain text and
without a request id. A single route that takes more, such as an import, declares its limit with `max_body_size`; this
middleware respects it.
"""

from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Limits a body to `max_body_bytes`, or to the route's own limit."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        declared = _declared_length(scope)
        taken = 0

        async def receive_limited() -> Message:
            nonlocal taken
            limit = scope.get(MAX_BODY_SIZE_SCOPE_KEY, self._max_body_bytes)
            # A body that declares too great a length is refused before any of it is read.
            message = await receive() if declared <= limit else None
            taken += len(message.get("body", b"")) if message else 0
            if message is None or taken > limit:
                # FastAPI passes only this exception on unchanged while it reads a body.
                raise HTTPException(413)
            return message

        return await self._app(scope, receive_limited, send)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        # The server itself has refused a length with more digits.
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0
