"""Answers of an authority: refusals in the form of RFC 6749, and nothing cacheable."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
from shared.dependencies import provided
from shared.errors import Refusal, TooManyRequests, Unauthenticated, Unavailable, Unexpected
from shared.problems import headers_of, request_id_of, status_of
from shared.web.accept import wants_page
from shared.web.pages import Pages
from shared.web.refusals import refusal_page
from starlette.requests import Request
from starlette.responses import Response

#: Refusals with codes of RFC 6749 and 7009; all others become the most general code.
_ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
_OF_KIND: Final[Mapping[type[Refusal], str]] = {
    Unavailable: "temporarily_unavailable",
    TooManyRequests: "temporarily_unavailable",
    Unexpected: "server_error",
}
_CHALLENGE: Final = 'Basic realm="points platform", charset="UTF-8"'
_PATH = re.compile(r"/tenants/[^/]*/oauth/(authorize|token|introspect|revoke)/?")


def is_authority_path(path: str) -> bool:
    """Whether refusals on this path have the form of RFC 6749."""
    return _PATH.fullmatch(path) is not None


def oauth_refusal(refusal: Refusal, request: Request) -> Response:
    """A refusal as `error` and `error_description`, with the request id for operators.

    A browser on its way to the consent gets a page.
    """
    if request.method == "GET" and wants_page(request):
        return refusal_page(provided(request.app, Pages), refusal, request)
    body = {
        "error": error_of(refusal),
        "error_description": description_of(refusal),
        "request_id": request_id_of(request),
    }
    headers = headers_of(refusal)
    if isinstance(refusal, Unauthenticated):
        headers["WWW-Authenticate"] = _CHALLENGE
    return private_json(body, status_of(refusal), headers)


def error_of(refusal: Refusal) -> str:
    """The error code of RFC 6749 for a refusal."""
    if refusal.stable_code in _ERRORS:
        return refusal.stable_code
    return next((_OF_KIND[kind] for kind in type(refusal).__mro__ if kind in _OF_KIND), "invalid_request")


def description_of(refusal: Refusal) -> str:
    """The description in the characters of RFC 6749, 5.2: printable ASCII without quotation mark and backslash."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in refusal.message)


def private_json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer with `no-store`."""
    kept_nowhere = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(orjson.dumps(body), status, {**kept_nowhere, **(headers or {})}, "application/json")
