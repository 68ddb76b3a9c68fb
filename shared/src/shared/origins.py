"""Where a request comes from: what the audit writes down beside the actor."""

from contextvars import ContextVar
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.proxies import ProxyTrust

#: The network of the request under way; None for a command or a chore.
current_origin: Final[ContextVar[str | None]] = ContextVar("current_origin", default=None)


class NotesOrigin:
    """Wraps the application: acts of a request know the network that it came from."""

    def __init__(self, app: ASGIApp, proxies: ProxyTrust) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        token = current_origin.set(self._proxies.client_network(scope))
        try:
            return await self._app(scope, receive, send)
        finally:
            current_origin.reset(token)
