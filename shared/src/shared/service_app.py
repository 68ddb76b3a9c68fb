"""The frame of a service: an application with problem bodies, health, metrics and logs, and the server around it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from shared import errors
from shared.answer_headers import document_headers
from shared.api_pages import add_api_pages
from shared.bodies import Bodies, RefusedWhileReading
from shared.builds import build_of
from shared.calling import ServiceClient
from shared.chores import Chores
from shared.common_refusals import document_common_refusals
from shared.hot_openapi import add_to_router
from shared.hot_routes import HotRoute, HotRouteApp, HotTable, HotWay
from shared.malformed import MalformedJson, refusal_of_details
from shared.problems import Renderer, add_refusals, problem_documentation, problem_response
from shared.proxies import ProxyTrust
from shared.query_rules import QueryRules
from shared.readiness import Readiness, ReadinessCheck
from shared.request_frame import RequestFrame
from shared.settings import ServiceSettings
from shared.shortcuts import Shortcut, ShortcutApp
from shared.siblings import Siblings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")
_KIND_OF_STATUS: Mapping[int, type[errors.Refusal]] = {
    400: errors.Malformed,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
}
_MESSAGE_OF_STATUS: Mapping[int, str] = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The request body is too long.",
}
_build = Gauge("build_info", "1 for the service and the version that run.", ["service", "version"])


class ServiceApp(FastAPI):
    """FastAPI with a shorter path for hot routes."""

    _hot: HotTable

    def add_hot_routes(
        self, routes: Sequence[HotRoute], shortcuts: Sequence[Shortcut], settings: ServiceSettings, render: Renderer
    ) -> None:
        apps = {
            (route.method, route.path): HotRouteApp(route, max_body_bytes=settings.max_body_bytes, render=render)
            for route in routes
        }
        ways = [HotWay(method, path, RequestFrame(app, render)) for (method, path), app in apps.items()]
        for shortcut in shortcuts:
            within = Bodies(
                ShortcutApp(shortcut, render),
                max_body_bytes=settings.max_body_bytes,
                idle_seconds=settings.body_idle_seconds,
                seconds=settings.body_seconds,
            )
            ways.append(HotWay(shortcut.method, shortcut.path, RequestFrame(within, render), shortcut.fits))
        self._hot = HotTable(ways)
        for route in routes:
            add_to_router(route, apps[route.method, route.path], self.router)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hot = None
        if scope["type"] == "http":
            if scope["method"] == "HEAD" and not self._takes(scope):
                scope, send = _as_get(scope, send)
            hot = self._hot.find(scope)
        if hot is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await hot(scope, receive, send)

    def methods_at(self, scope: Scope) -> list[str]:
        """The methods that the path of a request takes, over all routes."""
        found = [method for method in _METHODS if self._takes({**scope, "method": method})]
        return sorted({*found, "HEAD"} if "GET" in found else found)

    def _takes(self, scope: Scope) -> bool:
        is_routed = any(route.matches(scope)[0] is Match.FULL for route in self.router.routes)
        return is_routed or self._hot.find(scope) is not None


def _as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """A HEAD request as the GET that it is, but for the body of the answer (RFC 9110, 9.3.2)."""

    async def send_without_body(message: Message) -> None:
        if "body" in message:
            message = {**message, "body": b""}
        await send(message)

    scope.setdefault("state", {})["method"] = "HEAD"
    # A copy: the server looks into its own for what it may send.
    return {**scope, "method": "GET"}, send_without_body


def create_service_app(
    settings: ServiceSettings,
    *,
    title: str,
    description: str,
    lifespan: Lifespan,
    readiness: Mapping[str, ReadinessCheck],
    render: Renderer = problem_response,
    hot_routes: Sequence[HotRoute] = (),
    shortcuts: Sequence[Shortcut] = (),
    chores: Chores | None = None,
    neighbours: Sequence[ServiceClient] = (),
    takes_any_query: tuple[str, ...] = (),
    version: str = "1.0.0",
) -> FastAPI:
    """An application with everything that all four services have.

    Args:
        readiness: name → check; `/readyz` answers 503 and names those that raise.
        render: how refusals are answered; by path or by what the caller accepts.
        hot_routes: routes that go past the framework.
        shortcuts: ways past it to routes that are added as usual.
        chores: its periodic work; `/readyz` tells how fresh each is. A late chore makes nothing unready: requests
            do not depend on it, and a restart would only take its place in line.
        neighbours: the services that it asks; `/readyz` tells which of them answer, as a warning only.
        takes_any_query: beginnings of paths whose operations ignore unknown parameters.
        version: of the API.
    """
    app = ServiceApp(
        title=title,
        description=description,
        version=version,
        lifespan=lifespan,
        # The pages of OpenAPI come from a package; FastAPI's own load them from a foreign host.
        docs_url=None,
        redoc_url=None,
        # A redirect would send the caller, with its credentials, to the plain-http address behind the gateway.
        redirect_slashes=False,
        # Validation is refused with 400 here; FastAPI would document a 422 that is never sent.
        responses={"4XX": problem_documentation("Refused"), "5XX": problem_documentation("Failed")},
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(QueryRules(takes_any_query).check_request)],
    )
    app.state.build = build_of(title)
    _build.labels(title, app.state.build).set(1)
    app.state.settings = settings
    app.state.is_draining = False
    #: Where the process is one of several workers, the others.
    app.state.siblings = None
    app.state.render = render
    app.state.proxies = ProxyTrust(settings.trusted_proxies)
    app.add_exception_handler(errors.Refusal, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    add_api_pages(app)
    _add_operations(app, Readiness(readiness, chores, neighbours))
    app.add_middleware(
        Bodies,
        max_body_bytes=settings.max_body_bytes,
        idle_seconds=settings.body_idle_seconds,
        seconds=settings.body_seconds,
    )
    app.add_middleware(RequestFrame, render=render)
    app.add_hot_routes(hot_routes, shortcuts, settings, render)
    extend_openapi(app, _drop_422)
    extend_openapi(app, add_refusals)
    extend_openapi(app, partial(document_common_refusals, takes_any_query=takes_any_query))
    extend_openapi(app, document_headers)
    return app


def refusal_of_validation(error: RequestValidationError, content_type: str | None) -> errors.Refusal:
    """FastAPI's validation error as a refusal that names the fields and never repeats their values."""
    details = error.errors()
    if any(detail["type"] == "json_invalid" for detail in details):
        return MalformedJson()
    media_type = (content_type or "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    # FastAPI does not parse a body of another type; it fails as one value.
    if not is_json and any(detail["loc"] == ("body",) and detail["type"] != "missing" for detail in details):
        return errors.UnsupportedMediaType("The body must be application/json.")
    return refusal_of_details([(detail["loc"][1:] or detail["loc"][:1], detail["msg"]) for detail in details])


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.Refusal)  # noqa: S101 — by its registration
    if error.log is not None:
        request.state.log = {"refusal": error.stable_code, "why": error.log}
    else:
        request.state.log = {"refusal": error.stable_code}
    render: Renderer = request.app.state.render
    response = render(error, request)
    errors.forget_frames(error)
    return response


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 — by its registration
    refusal = refusal_of_validation(error, request.headers.get("content-type"))
    errors.forget_frames(error)
    return await _answer_refusal(request, refusal)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 — by its registration
    errors.forget_frames(error)
    if isinstance(error, RefusedWhileReading):
        return await _answer_refusal(request, error.refusal)
    # A hot route is none of the router's: of a path that only such take, it knows nothing.
    is_unknown = error.status_code == 404 and "endpoint" not in request.scope
    if is_unknown or error.status_code == 405:
        app: ServiceApp = request.app
        if allowed := app.methods_at(request.scope):
            error = HTTPException(405, headers={"Allow": ", ".join(allowed)})
    kind = _KIND_OF_STATUS.get(error.status_code)
    if kind is None:
        return Response(status_code=error.status_code, headers=error.headers)
    response = await _answer_refusal(request, kind(_MESSAGE_OF_STATUS.get(error.status_code, str(error.detail))))
    response.headers.update(error.headers or {})
    return response


def _add_operations(app: FastAPI, asked: Readiness) -> None:
    @app.get("/healthz", tags=["operations"], summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive", "version": app.state.build}

    async def own_readiness() -> dict[str, Any]:
        is_well, shown = await asked.report()
        return {"status": "draining" if app.state.is_draining else "ready" if is_well else "not ready"} | shown

    app.state.own_readiness = own_readiness

    @app.get("/readyz", tags=["operations"], summary="Can it do its work?")
    async def readyz() -> JSONResponse:
        siblings: Siblings | None = app.state.siblings
        shown = await (own_readiness() if siblings is None else siblings.readiness())
        ready = shown["status"] == "ready"
        return JSONResponse(
            shown,
            status_code=200 if ready else 503,
            headers={"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "1"}),
        )

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        siblings: Siblings | None = app.state.siblings
        if siblings is not None:
            return Response(await siblings.figures(), media_type=CONTENT_TYPE_LATEST)
        # Where nobody asks `/readyz`, its figures would be missing, and the alarms with them.
        await own_readiness()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _operation_id(route: APIRoute) -> str:
    return route.name


def extend_openapi(app: FastAPI, extend: Callable[[dict[str, Any]], None]) -> None:
    """Lets `extend` change the OpenAPI document once it is made."""
    describe: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        schema = describe()
        if is_new:
            extend(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend OpenAPI


def _drop_422(schema: dict[str, Any]) -> None:
    """Removes 422 from OpenAPI, since the service never sends it."""
    for path in schema.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation.get("responses", {}).pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        schema.get("components", {}).get("schemas", {}).pop(unused, None)
