"""What every request and every answer of the shop has in common."""

import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rewards_shop.problems import Problem

log = logging.getLogger("rewards_shop.access")

LANGUAGES = ("en", "de")
LONGEST_BODY = 16_384

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class CarefulAnswers:
    """Adds the headers that keep a page to itself, and logs the path of a request but never its query: tokens.

    A defect is answered here too, and not further out, so that its page has the same headers.
    """

    def __init__(self, app: ASGIApp, on_defect: Callable[[Request], Awaitable[Response]]) -> None:
        self._app = app
        self._on_defect = on_defect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path = time.perf_counter(), scope["path"]
        answered = False

        async def send_carefully(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers["Cache-Control"] = "public, max-age=3600" if path.startswith("/static/") else "no-store"
                took_ms = (time.perf_counter() - started) * 1000
                log.info("%s %r %d %.0f ms", scope["method"], path, message["status"], took_ms)
            await send(message)

        try:
            await self._app(scope, receive, send_carefully)
        except Exception:  # The outermost place of a request: the log gets the defect, the person a page.
            log.exception("%s %r failed", scope["method"], path)
            if answered:
                raise
            response = await self._on_defect(Request(scope))
            await response(scope, receive, send_carefully)


def wants_json(request: Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def language(request: Request) -> str:
    """By the switch, else as remembered, else as the browser prefers, else English."""
    for chosen in (request.query_params.get("lang"), request.cookies.get("shop_lang")):
        if chosen in LANGUAGES:
            return chosen
    wishes = []
    for wish in request.headers.get("Accept-Language", "").split(","):
        tag, _, parameter = wish.partition(";")
        wishes.append((_quality(parameter), tag.strip().lower().split("-")[0]))
    liked = [tag for quality, tag in sorted(wishes, key=lambda w: -w[0]) if quality > 0 and tag in LANGUAGES]
    return liked[0] if liked else LANGUAGES[0]


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0


async def read_body(request: Request) -> bytes:
    """The body, letter by letter. Raises Problem if it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise Problem(413, "form", "payload_too_large")
    return body


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form or of a JSON object, whichever was sent. Raises Problem for anything else."""
    body = await read_body(request)
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode(), max_num_fields=20))
        if kind == "application/json":
            return _texts(json.loads(body))
    except (ValueError, RecursionError):
        raise Problem(400, "form", "malformed_body") from None
    raise Problem(415, "form", "unsupported_media_type")


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return {name: text for name, text in value.items() if isinstance(text, str)}
