"""What the plain routes do with a request before a use case: who calls, what the body says, which key it has."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from shared.callers import Caller, Callers
from shared.errors import Malformed, UnsupportedMediaType
from shared.idempotency import RequestKey, fingerprint_of, parse_key
from starlette.requests import Request
from starlette.responses import Response

B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")

#: Fields whose malformation has a code of its own.
_CODE_OF_FIELD: Final[Mapping[str, str]] = {
    "base_url": "malformed_base_url",
    "duration": "malformed_duration",
    "destination_url": "malformed_destination_url",
}
_NAMED: Final = 20


async def authenticate(request: Request, route: str, *any_of: str) -> Caller:
    """The caller, who has one of the scopes; the request is logged under the route's template."""
    request.state.route = route
    callers: Callers = request.app.state.callers
    caller = await callers.authenticate(request.scope)
    caller.need(*any_of)
    return caller


def check_is_json(request: Request) -> None:
    """Raises UnsupportedMediaType for a body that says to be something else."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("The body must be application/json.")


def parse(adapter: TypeAdapter[T], body: bytes, context: Mapping[str, Any] | None = None) -> T:
    """The body as its type says.

    Raises:
        Malformed: names what is wrong where, and never repeats the values.
    """
    try:
        return adapter.validate_json(body, context=dict(context or {}))
    except ValidationError as error:
        raise refusal_of_validation(error) from None


def refusal_of_validation(error: ValidationError) -> Malformed:
    """What pydantic found wrong, as a refusal."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    if details[0]["type"] == "json_invalid":
        return Malformed("The body is not JSON.", code="malformed_json")
    named = [
        {
            "field": ".".join(str(part) for part in detail["loc"]) or "body",
            "message": detail["msg"].removeprefix("Value error, "),
        }
        for detail in details[:_NAMED]
    ]
    fields = [part for part in details[0]["loc"] if isinstance(part, str)]
    code = code_of_field(fields[0] if fields else None)
    return Malformed(f"The input is not valid: {named[0]['field']}: {named[0]['message']}", code=code, errors=named)


def code_of_field(field: str | None) -> str | None:
    """The code of a malformed field that has one of its own."""
    return _CODE_OF_FIELD.get(field or "")


def request_key(request: Request, body: bytes) -> RequestKey | None:
    """The `Idempotency-Key`, where there is one."""
    header = request.headers.get("idempotency-key")
    if header is None:
        return None
    fingerprint = fingerprint_of(request.method, request.scope["path"], request.scope["query_string"], body)
    return RequestKey(parse_key(header), fingerprint)


def json_response(body: Any, status: int = 200) -> Response:
    """JSON that nobody keeps."""
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, "application/json")
