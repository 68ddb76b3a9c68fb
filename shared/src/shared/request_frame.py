"""The frame around every request: id, trace, log line, metrics, and the answer to unexpected errors.

One plain ASGI middleware instead of a stack of them, since each costs about as much as a small route.
"""

import functools
import os
import re
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

import structlog
from prometheus_client import REGISTRY, Counter, Gauge
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import NotFound, Policy, Refusal, TooSlow, Unexpected, UnsupportedMediaType
from shared.logs import request_lines
from shared.problems import Renderer, problem_response
from shared.request_times import RequestTimes
from shared.tracing import trace_id_of, traceparent_of, traces

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

#: Paths without a log line: machines ask for them every few seconds.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

#: What of a log line is in a span as well: nothing about a person.
_ATTRIBUTES = ("request_id", "client_id", "tenant")

#: The status in log and metrics if the caller was gone before the answer. It is no 5xx, since nothing failed here.
_HUNG_UP = 499

#: Says to the gateway to end the connection with this answer: what the caller sends after the gateway stopped waiting
#: would be taken for another request.
_BODY_UNFINISHED = (b"x-body-unfinished", b"1")

#: Headers that make the context of a request.
_HEEDED = frozenset({b"x-request-id", b"traceparent", b"content-encoding"})

#: Content codings that change nothing.
_PLAIN = frozenset({b"", b"identity"})


class UnsupportedContentEncoding(UnsupportedMediaType):
    code = "unsupported_content_encoding"

    def __init__(self) -> None:
        super().__init__("The body must not be encoded.")


_log = structlog.get_logger("requests")
_times = RequestTimes()
REGISTRY.register(_times)
_refusals = Counter("refusals", "Requests that were refused, by the code that the caller got.", ["code"])
_in_flight = Gauge("http_requests_in_flight", "Requests that are being answered.")
_unexpected = Counter("http_unexpected_errors", "Requests that ended in an error nobody had thought of.")


class _UnderWay:
    """Counts without the metric's lock, which one event loop does not need."""

    requests = 0


_under_way = _UnderWay()
_in_flight.set_function(lambda: _under_way.requests)


class Standing(NamedTuple):
    """How a caller stands with a limit.

    Args:
        remaining: what is left of the quota.
        seconds: after which the quota is whole again.
    """

    policy: Policy
    remaining: int
    seconds: int


class RequestContext(NamedTuple):
    """The context that calls to other services carry on."""

    request_id: str
    traceparent: str
    #: The limits that the request was counted by.
    standings: list[Standing]
    #: Why the request is refused whatever it asks for.
    refusal: Refusal | None = None


current_request: ContextVar[RequestContext | None] = ContextVar("current_request", default=None)


def tell_standing(standing: Standing) -> None:
    """The answer to the present request says how its caller stands; without a request nobody hears of it."""
    context = current_request.get()
    if context is not None:
        context.standings.append(standing)


class RequestFrame:
    """Wraps the whole application.

    Accepts or makes `X-Request-Id` and `traceparent`, echoes both, and leaves them in `scope["state"]` and
    `current_request`. The log line names the route's template, never the path or the query: those carry tokens
    and codes.
    """

    def __init__(self, app: ASGIApp, render: Renderer) -> None:
        self._app = app
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.perf_counter()
        context = _context_of(scope)
        if traces.is_on and scope["path"] not in _QUIET:
            given = context.traceparent if _is_given(scope, context.traceparent) else None
            with traces.request(given) as span:
                if given is None:
                    context = context._replace(traceparent=traceparent_of(span))
                return await self._answer(scope, receive, send, context, began, span)
        return await self._answer(scope, receive, send, context, began)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        context: RequestContext,
        began: float,
        span: "Span | None" = None,
    ) -> None:
        scope.setdefault("state", {})["request_id"] = context.request_id
        headers = (
            (b"x-request-id", context.request_id.encode()),
            (b"traceparent", context.traceparent.encode()),
            (b"x-content-type-options", b"nosniff"),
        )
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if "status" in message:
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers]
                if context.standings:
                    message["headers"] += _rate_limits(context.standings)
                if _is_unfinished(receive):
                    message["headers"].append(_BODY_UNFINISHED)
            await send(message)

        token = current_request.set(context)
        _under_way.requests += 1
        try:
            if context.refusal is not None:
                await self._refuse(context.refusal, scope, receive, send_framed)
            else:
                await self._app(scope, receive, send_framed)
        except ClientDisconnect:
            if status:
                raise
            # The reader of a stream that comes too slowly gets this error as well, though its caller is still there.
            if not _is_gone(receive):
                await self._render(TooSlow("The request body did not come in time."), Request(scope))(
                    scope, receive, send_framed
                )
        # The last place that can turn an unexpected error into an answer without inside details.
        except Exception:
            _unexpected.inc()
            _log.exception("unexpected error", request_id=context.request_id, route=_route_of(scope))
            if status:
                raise
            await self._render(Unexpected(), Request(scope))(scope, receive, send_framed)
        finally:
            _under_way.requests -= 1
            current_request.reset(token)
            _finish(scope, context, status or _HUNG_UP, time.perf_counter() - began, span)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        """What concerns no route in particular. No page: its links would lead to where a strange path says."""
        scope["state"]["log"] = {"refusal": refusal.stable_code}
        render = problem_response if isinstance(refusal, NotFound) else self._render
        response = render(refusal, Request(scope))
        if isinstance(refusal, UnsupportedMediaType):
            response.headers["Accept-Encoding"] = "identity"
        await response(scope, receive, send)


def _rate_limits(standings: list[Standing]) -> list[tuple[bytes, bytes]]:
    """As draft-ietf-httpapi-ratelimit-headers has it."""
    policies = b", ".join([_spelled(policy)[0] for policy, _, _ in standings])
    left = b", ".join([b"%b;r=%d;t=%d" % (_spelled(policy)[1], left, seconds) for policy, left, seconds in standings])
    return [(b"ratelimit-policy", policies), (b"ratelimit", left)]


@functools.lru_cache(maxsize=64)
def _spelled(policy: Policy) -> tuple[bytes, bytes]:
    """A policy, and its name alone. A service has few policies, and every answer names one."""
    return str(policy).encode(), f'"{policy.name}"'.encode()


def _is_unfinished(receive: Receive) -> bool:
    """Whether the caller has yet to send the rest of its body. uvicorn knows, whose method `receive` is."""
    return getattr(getattr(receive, "__self__", None), "more_body", False)


def _is_gone(receive: Receive) -> bool:
    """Whether the connection has ended, as uvicorn knows it."""
    return getattr(getattr(receive, "__self__", None), "disconnected", True)


def _is_given(scope: Scope, traceparent: str) -> bool:
    """Whether the caller sent this, or it was made here."""
    return (b"traceparent", traceparent.encode()) in scope["headers"]


def _finish(scope: Scope, context: RequestContext, status: int, seconds: float, span: "Span | None") -> None:
    state = scope["state"]
    route, method = _route_of(scope), state.get("method") or scope["method"]
    _times.observe(method, route, status, seconds)
    refused = state.get("log", {}).get("refusal")
    if refused is not None:
        count_refusal(refused)
    if scope["path"] in _QUIET:
        return
    caller = state.get("caller")
    line = {
        "method": method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "request_id": context.request_id,
        "traceparent": context.traceparent,
        "client_id": getattr(caller, "client_id", None),
        "tenant": getattr(caller, "tenant", None),
        # The designated user of an access token.
        "subject": getattr(caller, "subject", None),
    }
    if span is not None:
        if span.is_recording():
            line["trace_id"] = trace_id_of(span)
        attributes = {name: line[name] for name in _ATTRIBUTES} | {"refusal": refused}
        traces.end_request(span, method, route, status, attributes)
    request_lines.write(line, state.get("log", {}))


def count_refusal(code: str) -> None:
    """Counts a refusal that is part of an answer, and so has passed the frame as none."""
    _refusals.labels(code).inc()


def _context_of(scope: Scope) -> RequestContext:
    request_id = traceparent = refusal = None
    ids = 0
    for name, value in scope["headers"]:
        if name in _HEEDED:
            if name == b"x-request-id":
                ids += 1
                request_id = value.decode() if ids == 1 and _REQUEST_ID.fullmatch(value) else None
            elif name == b"content-encoding":
                if value.strip().lower() not in _PLAIN:
                    refusal = UnsupportedContentEncoding()
            elif _TRACEPARENT.fullmatch(value):
                traceparent = value.decode()
    if request_id is None or traceparent is None:
        random = _random.digits()
        request_id = request_id or random[:32]
        traceparent = traceparent or f"00-{random[:32]}-{random[32:]}-01"
    if scope["path"].startswith("//"):
        return RequestContext(request_id, traceparent, [], NotFound("There is nothing at this address."))
    return RequestContext(request_id, traceparent, [], refusal)


class _Random:
    """Random digits for ids, fetched from the system for many requests at once, since each call takes a microsecond."""

    def __init__(self) -> None:
        self._digits = ""
        self._used = 0

    def digits(self) -> str:
        """48 hexadecimal digits that nobody got before."""
        if self._used >= len(self._digits):
            self._digits, self._used = os.urandom(24 * 128).hex(), 0
        self._used += 48
        return self._digits[self._used - 48 : self._used]


_random = _Random()


def _route_of(scope: Scope) -> str:
    """The template of the route, or what the route calls itself in the request's state."""
    return scope["state"].get("route") or getattr(scope.get("route"), "path", None) or "(none)"
