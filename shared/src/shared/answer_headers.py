"""The headers of answers, for OpenAPI: described once, and named where they come."""

from typing import Any, Final

_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head"})
#: Component → name on the wire, description, example.
_HEADERS: Final = {
    "RequestId": ("X-Request-Id", "Yours, or one that was made. Name it when you ask for help.", "7f1c0a5e2b"),
    "TraceParent": ("traceparent", "W3C Trace Context.", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    "RateLimitPolicy": (
        "RateLimit-Policy",
        "The limits that the request was counted by: quota `q`, window of `w` seconds.",
        '"client";q=600000;w=60',
    ),
    "RateLimit": (
        "RateLimit",
        "What remains of each (`r`), and after how many seconds it is whole again (`t`).",
        '"client";r=599821;t=12',
    ),
    "Challenge": (
        "WWW-Authenticate",
        "How to authenticate, and what was wrong (RFC 6750).",
        'Bearer error="invalid_token"',
    ),
    "RetryAfter": ("Retry-After", "Seconds after which a retry makes sense.", "2"),
    "Replayed": ("Idempotency-Replayed", "`true`: the first answer to this `Idempotency-Key` again.", "true"),
}
_ALWAYS: Final = ("RequestId", "TraceParent")
_COUNTED: Final = ("RateLimitPolicy", "RateLimit")
_OF_STATUS: Final = {
    "401": ("Challenge",),
    "429": ("RetryAfter",),
    "503": ("RetryAfter",),
    "4XX": ("Challenge", "RetryAfter"),
    "5XX": ("RetryAfter",),
}


def document_headers(document: dict[str, Any]) -> None:
    """Adds to an OpenAPI document the headers of every answer."""
    document.setdefault("components", {})["headers"] = {
        component: {"description": description, "schema": {"type": "string"}, "example": example}
        for component, (_, description, example) in _HEADERS.items()
    }
    for item in document.get("paths", {}).values():
        for method, operation in item.items():
            if method not in _METHODS:
                continue
            for status, response in operation["responses"].items():
                named = response.setdefault("headers", {})
                for component in _of(operation, status):
                    named.setdefault(_HEADERS[component][0], {"$ref": f"#/components/headers/{component}"})


def _of(operation: dict[str, Any], status: str) -> tuple[str, ...]:
    taken = {parameter.get("name", "").lower() for parameter in operation.get("parameters", ())}
    replayed = ("Replayed",) if "idempotency-key" in taken and status[0] in "24" else ()
    counted = _COUNTED if operation.get("security") else ()
    return (*_ALWAYS, *counted, *_OF_STATUS.get(status, ()), *replayed)
