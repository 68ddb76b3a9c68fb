"""Turns a refusal into an answer: kind → status → body (RFC 9457, `application/problem+json`)."""

import functools
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from shared import errors
from shared.codes import catalogue, type_of

STATUS_OF_KIND: Mapping[type[errors.Refusal], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.TooManyRequests: 429,
    errors.Unexpected: 500,
    errors.Unavailable: 503,
}

#: Turns a refusal into an answer: a problem body, unless a source document has a form of its own.
Renderer = Callable[[errors.Refusal, Request], Response]

PROBLEM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence for the person who reads it."},
        # Open: a generated client must not fail on a code that is newer than itself.
        "code": {
            "anyOf": [{"$ref": "#/components/schemas/Code"}, {"type": "string"}],
            "description": "Stable; programs decide by it. New ones may come.",
        },
        "request_id": {"type": "string", "description": "Tell it to the operators."},
        "errors": {
            "type": "array",
            "description": "For malformed input: what is wrong where.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

#: Writes refusals of one status into OpenAPI: (what it means, the codes that it comes with) → a response object.
DocumentRefusals = Callable[[str, list[str]], dict[str, Any]]


def status_of(refusal: errors.Refusal) -> int:
    """The HTTP status of a refusal's kind, 400 by default."""
    return status_of_class(type(refusal))


def status_of_class(refused: type[errors.Refusal]) -> int:
    """The same of all refusals of a class."""
    return _status_of(refused)  # type: ignore[arg-type]  # every class can be hashed


@functools.cache
def _status_of(refused: type[errors.Refusal]) -> int:
    return next((STATUS_OF_KIND[kind] for kind in refused.__mro__ if kind in STATUS_OF_KIND), 400)


def codes_of(refused: type[errors.Refusal]) -> tuple[str, ...]:
    """All codes that refusals of a class may have."""
    return (refused.code, *refused.further_codes)


def headers_of(refusal: errors.Refusal) -> dict[str, str]:
    """The headers of a refusal, whatever the form of its body."""
    headers = {"Cache-Control": "no-store"}
    if refusal.challenge is not None:
        headers["WWW-Authenticate"] = refusal.challenge
    if isinstance(refusal, errors.TooSlow):
        # What would still come in of the request must not be taken for the next one.
        headers["Connection"] = "close"
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    if isinstance(refusal, errors.TooManyRequests) and refusal.limit is not None:
        # As draft-ietf-httpapi-ratelimit-headers has it: which policy, and when there is room again.
        headers["RateLimit-Policy"] = str(refusal.limit)
        headers["RateLimit"] = f'"{refusal.limit.name}";r=0;t={refusal.retry_after_seconds}'
    return headers


def problem_body(refusal: errors.Refusal, request_id: str | None) -> dict[str, Any]:
    """The RFC 9457 members of a refusal; its own `members` stand beside them."""
    status = status_of(refusal)
    body: dict[str, Any] = {
        "type": type_of(refusal.stable_code),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": refusal.message,
        "code": refusal.stable_code,
    }
    if request_id is not None:
        body["request_id"] = request_id
    return body | refusal.members


def request_id_of(request: Request) -> str | None:
    """The id under which the request is logged."""
    request_id: str | None = request.scope.get("state", {}).get("request_id")
    return request_id


def problem_response(refusal: errors.Refusal, request: Request) -> Response:
    """The answer to a refused request."""
    return Response(
        orjson.dumps(problem_body(refusal, request_id_of(request))),
        status_code=status_of(refusal),
        headers=headers_of(refusal),
        media_type="application/problem+json",
    )


def problem_documentation(description: str) -> dict[str, Any]:
    """How a refusal looks, for OpenAPI."""
    return document_problems(description, [])


def document_problems(description: str, codes: list[str]) -> dict[str, Any]:
    """How refusals with these codes look, for OpenAPI; with any code if there are none."""
    return refusal_response(description, codes, "application/problem+json", "Problem")


def refusal_response(description: str, codes: list[str], media_type: str, component: str) -> dict[str, Any]:
    """A response object of OpenAPI whose body is a component; `codes` are what it comes with."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{component}"}}
    if codes:
        content["x-codes"] = codes
    return {"description": description, "content": {media_type: content}}


def add_refusals(document: dict[str, Any]) -> None:
    """Adds to an OpenAPI document what refusals look like, once: `Problem`, and `Code` with all codes there are."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = PROBLEM_SCHEMA
    schemas["Code"] = {
        "type": "string",
        "enum": sorted(catalogue()),
        "description": "What each means, and what to do: /developers/codes.",
    }


def document_refusals(
    refusals: Iterable[type[errors.Refusal]],
    document: DocumentRefusals = document_problems,
    *,
    malformed: Iterable[str] = (),
) -> dict[int | str, dict[str, Any]]:
    """status → response object of OpenAPI, with the codes of these refusals, and with those of `malformed` input."""
    codes: dict[int, set[str]] = {}
    for refused in refusals:
        codes.setdefault(status_of_class(refused), set()).update(codes_of(refused))
    for code in malformed:
        codes.setdefault(400, set()).add(code)
    return {
        status: document("Refused: " + ", ".join(f"`{code}`" for code in sorted(named)), sorted(named))
        for status, named in sorted(codes.items())
    }
