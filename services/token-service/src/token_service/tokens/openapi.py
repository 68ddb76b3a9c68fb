"""The plain routes in OpenAPI, which FastAPI does not see."""

from typing import Any, Final

from fastapi import FastAPI
from shared.service_app import extend_openapi, problem_documentation

from token_service.tokens import schemas
from token_service.tokens.routes import MOST_IN_BATCH

_ONE: Final = "/v1/tokens/{token}"
_EXAMPLE: Final = "2548a499367f4c2f87fd4873a97a6ff6"
_MOMENT: Final = {"type": "string", "format": "date-time"}
_MOMENT_OR_NULL: Final = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_BY_NAME: Final = {"type": "object", "additionalProperties": _COUNT}


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Issued": _object(
        {
            "token": {"type": "string", "pattern": "^[0-9a-f]{32}$", "examples": [_EXAMPLE]},
            "url_link": {"type": "string", "format": "uri", "description": "base_url + / + token"},
            "issued_at": _MOMENT,
            "expires_at": _MOMENT_OR_NULL,
        }
    ),
    "Token": _object(
        {
            "token": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "url_link": {"type": "string", "format": "uri"},
            "base_url": {"type": "string", "format": "uri"},
            "customer_id": {"type": "string"},
            "campaign_id": {"type": "string"},
            "product_id": {"type": ["string", "null"]},
            "attributes": {"type": "object"},
            "issued_at": _MOMENT,
            "not_before": _MOMENT_OR_NULL,
            "expires_at": _MOMENT_OR_NULL,
            "max_uses": {"type": ["integer", "null"]},
            "uses": {**_COUNT, "description": "This one included."},
        }
    ),
    "Revoked": _object({"token": {"type": "string"}, "revoked_at": _MOMENT}),
    "TokenStatistics": _object(
        {
            "token": {"type": "string"},
            "customer_id": {"type": "string"},
            "campaign_id": {"type": "string"},
            "issued_at": _MOMENT,
            "expires_at": _MOMENT_OR_NULL,
            "revoked_at": _MOMENT_OR_NULL,
            "max_uses": {"type": ["integer", "null"]},
            "issued": _COUNT,
            "verified": _COUNT,
            "verified_by": _BY_NAME,
            "distinct": _COUNT,
            "first_verified_at": _MOMENT_OR_NULL,
            "last_verified_at": _MOMENT_OR_NULL,
            "refused": _BY_NAME,
        }
    ),
}
_REFUSED: Final = {"4XX": problem_documentation("Refused"), "5XX": problem_documentation("Failed")}
_REFUSALS: Final = (
    "Refused with 400 `malformed_token`; 403 `invalid_signature`, `token_expired`, `token_revoked`, "
    "`token_not_yet_valid`; 404 `token_not_found`; 409 `token_used_up`; 429 `too_many_bad_signatures`."
)
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Repeat a call with the same key and get the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_TOKEN_PARAMETER: Final = {
    "name": "token",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "32 lower-case hexadecimal characters.",
    "example": _EXAMPLE,
}


def _operation(
    name: str,
    summary: str,
    answers: dict[str, dict[str, Any]],
    *,
    description: str = "",
    body: dict[str, Any] | None = None,
    body_required: bool = True,
    parameters: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": ["tokens"],
        "summary": summary,
        "description": description,
        "operationId": name,
        "security": [{"basic": []}, {"bearer": []}],
        "responses": answers | _REFUSED,
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": body_required, "content": {"application/json": body}}
    return operation


def _answer(description: str, schema: Any, media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _paths() -> dict[str, dict[str, Any]]:
    orders = {"type": "array", "minItems": 1, "maxItems": MOST_IN_BATCH, "items": _ref("OrderBody")}
    visit_schema = schemas.VisitBody.model_json_schema()
    look = _operation(
        "look_at_token",
        "Look at a token",
        {"200": _answer("What it encodes", _ref("Token"))},
        description=f"The same as verify without counting or using up. {_REFUSALS}",
        parameters=(_TOKEN_PARAMETER,),
    )
    revoke = _operation(
        "revoke_token",
        "Revoke a token",
        {"200": _answer("Revoked, at once and for good", _ref("Revoked"))},
        parameters=(_TOKEN_PARAMETER,),
    )
    return {
        "/v1/tokens": {
            "post": _operation(
                "issue_token",
                "Issue a token",
                {"201": _answer("Issued", _ref("Issued"))},
                description="`duration` is seconds, an ISO 8601 duration such as `PT24H`, or `never`.",
                body={"schema": _ref("OrderBody")},
                parameters=(_IDEMPOTENCY_KEY,),
            )
        },
        "/v1/tokens/batch": {
            "post": _operation(
                "issue_tokens",
                "Issue many, all or nothing",
                {"201": _answer("Issued, in the order of the request", {"type": "array", "items": _ref("Issued")})},
                body={"schema": orders},
                parameters=(_IDEMPOTENCY_KEY,),
            )
        },
        f"{_ONE}/verify": {
            "post": _operation(
                "verify_token",
                "Verify a token",
                {"200": _answer("Good; counted, and one of its uses used up", _ref("Token"))},
                description=f"The body may say who opened the link. {_REFUSALS}",
                body={"schema": visit_schema},
                body_required=False,
                parameters=(_TOKEN_PARAMETER, _IDEMPOTENCY_KEY),
            )
        },
        _ONE: {"get": look, "delete": revoke},
        f"{_ONE}/stats": {
            "get": _operation(
                "token_stats",
                "Statistics of a token",
                {"200": _answer("What has become of it", _ref("TokenStatistics"))},
                parameters=(_TOKEN_PARAMETER,),
            )
        },
        f"{_ONE}/qr.svg": {
            "get": _operation(
                "token_qr_svg",
                "The link as a QR code (SVG)",
                {"200": _answer("The code", {"type": "string"}, "image/svg+xml")},
                parameters=(_TOKEN_PARAMETER,),
            )
        },
        f"{_ONE}/qr.png": {
            "get": _operation(
                "token_qr_png",
                "The link as a QR code (PNG)",
                {"200": _answer("The code", {"type": "string", "format": "binary"}, "image/png")},
                parameters=(_TOKEN_PARAMETER,),
            )
        },
    }


def describe(app: FastAPI) -> None:
    """Adds them to the app's OpenAPI."""

    def extend(schema: dict[str, Any]) -> None:
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components |= _SCHEMAS | {"OrderBody": _order_schema()}
        schema["paths"] = _paths() | schema["paths"]

    extend_openapi(app, extend)


def _order_schema() -> dict[str, Any]:
    schema = schemas.OrderBody.model_json_schema()
    properties = schema["properties"]
    properties["duration"] = {
        "description": "Seconds, ISO 8601 (`PT24H`, `P7D`), or `never`.",
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 315_360_000}, {"type": "string"}],
    }
    return schema
