"""Whatever a service refuses in a test, its OpenAPI document names the status and the code at that operation."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from fastapi.routing import APIRoute
from local_platform.services import SERVICES
from shared.service_app import ServiceApp
from starlette.types import Message, Receive, Scope, Send

from platform_testing.access import FRAME, Route, routes_of

#: For people, who read its words.
_PAGE: Final = "text/html"
#: For nobody: the caller was gone.
_HUNG_UP: Final = 499
#: What an OpenAPI document says: path and method → operation.
_Operations = Mapping[tuple[str, str], Mapping[str, Any]]


class RefusalWatch:
    """Looks at every refusal of the applications in this process.

    Attributes:
        titles: of the applications that are looked at: the services', since samples of tests declare less.
        undeclared: one line for each status or code that the operation's responses do not name.
    """

    def __init__(self) -> None:
        self.titles = {service.name for service in SERVICES}
        self.undeclared: set[str] = set()
        self._by_app: WeakKeyDictionary[ServiceApp, _Operations] = WeakKeyDictionary()
        #: Many tests make an app of their own, and a document takes longer than most tests do.
        self._by_routes: dict[tuple[Route, ...], _Operations] = {}

    def look(self, app: ServiceApp, scope: Scope, status: int, media_type: str, body: bytes) -> None:
        route = scope.get("route")
        # A hot route says in the state which one it is, with the operation's name.
        path = route.path_format if isinstance(route, APIRoute) else scope["state"].get("route", "").partition("?")[0]
        operation = self._operations_of(app).get((path, scope["method"]))
        if operation is None or path in FRAME or media_type == _PAGE or status == _HUNG_UP:
            return
        place = f"{app.title}: {scope['method']} {path}"
        response = operation["responses"].get(str(status))
        code = _code_of(body)
        if response is None:
            self.undeclared.add(f"{place}: {status} {code}")
        elif media_type not in response.get("content", {}):
            self.undeclared.add(f"{place}: {status} {code} as {media_type}")
        elif code not in response["content"][media_type].get("x-codes", ()):
            self.undeclared.add(f"{place}: {status} {code}")

    def _operations_of(self, app: ServiceApp) -> _Operations:
        found = self._by_app.get(app)
        if found is None:
            routes = tuple(sorted(routes_of(app)))
            if routes not in self._by_routes:
                self._by_routes[routes] = {
                    (path, method.upper()): operation
                    for path, item in app.openapi()["paths"].items()
                    for method, operation in item.items()
                }
            found = self._by_app[app] = self._by_routes[routes]
        return found


@contextmanager
def watching_refusals() -> Iterator[RefusalWatch]:
    """Within the block the applications are looked at."""
    watch, call = RefusalWatch(), ServiceApp.__call__

    async def watched(app: ServiceApp, scope: Scope, receive: Receive, send: Send) -> None:
        status, media_type, body = 0, "", b""

        async def looking(message: Message) -> None:
            nonlocal status, media_type, body
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {name.lower(): value for name, value in message["headers"]}
                media_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0]
            elif message["type"] == "http.response.body" and status >= 400:
                body += message.get("body", b"")

        try:
            await call(app, scope, receive, looking)
        finally:
            if status >= 400 and scope["method"] != "HEAD" and app.title in watch.titles:
                watch.look(app, scope, status, media_type, body)

    ServiceApp.__call__ = watched  # type: ignore[assignment, method-assign]  # what a test client calls
    try:
        yield watch
    finally:
        ServiceApp.__call__ = call  # type: ignore[method-assign]  # as it was


def _code_of(body: bytes) -> str:
    """The stable code; that of OAuth's endpoints is their `error`."""
    try:
        said = json.loads(body)
    except ValueError:
        return "(no code)"
    return str(said.get("code") or said.get("error") or "(no code)") if isinstance(said, dict) else "(no code)"
