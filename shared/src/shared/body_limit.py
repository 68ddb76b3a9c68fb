"""Bodies are no longer than agreed, and one that is longer is refused like everything else.

FastAPI's `max_body_size` for a whole application answers a declared length outside of the frame: in plain text,
without a request id, and as an error that nobody had thought of. For a single route that takes more (an import), it
is the way to say so, and is heeded here.
"""

from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Lets a body be read up to `max_body_bytes`, or as far as the route's own limit goes."""

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
            # Of a body that says by itself that it is too long, nothing is read.
            message = await receive() if declared <= limit else None
            taken += len(message.get("body", b"")) if message else 0
            if message is None or taken > limit:
                # The one exception that FastAPI does not turn into something else while it reads a body.
                raise HTTPException(413)
            return message

        return await self._app(scope, receive_limited, send)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        # Of more digits than that, the server has made no request.
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0
