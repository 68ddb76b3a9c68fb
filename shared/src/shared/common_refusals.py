"""What any operation refuses, for OpenAPI: it follows from what the operation takes, so no route declares it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from shared.bodies import RepeatedMember
from shared.callers import InsufficientScope, InvalidToken, IpNotAllowed, SeveralCredentials
from shared.database_failures import OutcomeUnknown
from shared.errors import (
    Malformed,
    PayloadTooLarge,
    PreconditionFailed,
    Refusal,
    TooManyRequests,
    TooSlow,
    Unauthenticated,
    Unavailable,
    Unexpected,
    UnsupportedMediaType,
)
from shared.idempotency import IdempotencyKeyReused, MalformedKey
from shared.malformed import MalformedJson
from shared.paging import InvalidCursor
from shared.problems import codes_of, status_of_class
from shared.query_rules import RepeatedParameter, UnknownParameter
from shared.request_frame import UnsupportedContentEncoding

_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})


def document_common_refusals(document: dict[str, Any], takes_any_query: tuple[str, ...] = ()) -> None:
    """Adds them to each operation of an OpenAPI document, in the shape that the operation's refusals have.

    Args:
        takes_any_query: beginnings of paths whose operations ignore unknown parameters.
    """
    schemas = document["components"]["schemas"]
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method not in _METHODS:
                continue
            if _have_codes(operation, schemas):
                add_codes(operation["responses"], _codes_of(method, operation, path.startswith(takes_any_query)))
            operation["responses"] = dict(sorted(operation["responses"].items()))


def add_codes(responses: dict[str, Any], added: Iterable[tuple[int, str]]) -> None:
    """Adds codes of refusals, by status, to the responses of an operation. Those of `4XX` say which shape they have."""
    codes_of_status: dict[int, set[str]] = {}
    for status, code in added:
        codes_of_status.setdefault(status, set()).add(code)
    for status, codes in codes_of_status.items():
        (media_type, shape), *_ = responses["4XX"]["content"].items()
        response = responses.setdefault(str(status), {})
        content = response.setdefault("content", {}).setdefault(media_type, {"schema": shape["schema"]})
        named = sorted({*content.get("x-codes", ()), *codes})
        content["x-codes"] = named
        response["description"] = "Refused: " + ", ".join(f"`{code}`" for code in named)


def _have_codes(operation: dict[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Whether its refusals have a `code`; those of OAuth have an `error` of RFC 6749, which is not ours to choose."""
    (shape,) = operation["responses"]["4XX"]["content"].values()
    component = schemas.get(shape["schema"]["$ref"].rpartition("/")[2], {})
    return "error" not in component.get("properties", {})


def _codes_of(method: str, operation: dict[str, Any], takes_any_query: bool) -> Iterator[tuple[int, str]]:
    named = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    body = operation.get("requestBody")
    is_secured = any(operation.get("security", ()))
    groups: Mapping[tuple[type[Refusal], ...], bool] = {
        (UnsupportedContentEncoding, Unexpected, Unavailable): True,
        (UnknownParameter, RepeatedParameter): not takes_any_query,
        (Malformed,): bool(named) or body is not None,
        (
            SeveralCredentials,
            Unauthenticated,
            InvalidToken,
            InsufficientScope,
            IpNotAllowed,
            TooManyRequests,
        ): is_secured,
        (PayloadTooLarge, TooSlow, UnsupportedMediaType): body is not None,
        (MalformedJson, RepeatedMember): body is not None and "application/json" in body["content"],
        (MalformedKey, IdempotencyKeyReused): "idempotency-key" in named,
        (PreconditionFailed,): "if-match" in named,
        (InvalidCursor,): "cursor" in named,
        (OutcomeUnknown,): method != "get",
    }
    for refusals, is_so in groups.items():
        if is_so:
            yield from ((status_of_class(refused), code) for refused in refusals for code in codes_of(refused))
