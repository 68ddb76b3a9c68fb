"""The EAI operations in OpenAPI: one path whose query names the operation, as the source document has it."""

from typing import Any

from fastapi import FastAPI
from shared.service_app import extend_openapi

from points_ledger.eai import schemas

_EXAMPLE = {"userid": "demo-user-1", "transactionid": "order-4711"}

_BODIES: dict[str, tuple[type[schemas._Body], dict[str, Any]]] = {
    "commit": (schemas.CommitBody, {**_EXAMPLE, "pointstodeduct": 250, "description": "redemption for Coffee mug"}),
    "confirm": (schemas.ConfirmBody, _EXAMPLE),
    "rollback": (schemas.RollbackBody, _EXAMPLE),
    "refund": (schemas.RefundBody, {**_EXAMPLE, "refundid": "return-1", "points": 50}),
}

SUCCESS = {
    "type": "object",
    "required": ["status", "message", "transactionid", "state", "points"],
    "properties": {
        "status": {"const": "success"},
        "message": {"type": "string"},
        "transactionid": {"type": "string"},
        "state": {"enum": ["held", "confirmed", "rolled_back"]},
        "points": {"type": "integer"},
        "expiresat": {"type": "string", "format": "date-time", "description": "While held."},
    },
}
FAILED = {
    "type": "object",
    "required": ["status", "message", "code"],
    "properties": {
        "status": {"const": "failed"},
        "message": {"type": "string"},
        "code": {"type": "string", "description": "Stable; programs decide by it."},
        "transactionid": {"type": "string"},
        "state": {"enum": ["held", "confirmed", "rolled_back", "expired", "rejected", "cancelled"]},
        "field": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def describe(app: FastAPI) -> None:
    """Adds the POST, which is no FastAPI route, and the source's shape of refusals to the app's OpenAPI."""

    def extend(schema: dict[str, Any]) -> None:
        paths = schema["paths"]
        failed = {"description": "Refused", "content": {"application/json": {"schema": FAILED}}}
        paths.setdefault("/eai/v1/points", {})["post"] = {
            "tags": ["EAI"],
            "summary": "Hold, deduct, release or refund points",
            "description": "Exactly one of the query parameters names the operation.",
            "operationId": "change_points",
            "security": [{"basic": []}, {"bearer": []}],
            "parameters": [
                {
                    "name": name,
                    "in": "query",
                    "allowEmptyValue": True,
                    "schema": {"enum": ["", "1"]},
                    "description": f"Body: {model.__name__}",
                }
                for name, (model, _) in _BODIES.items()
            ]
            + [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"anyOf": [_body_schema(model) for model, _ in _BODIES.values()]},
                        "examples": {name: {"value": example} for name, (_, example) in _BODIES.items()},
                    }
                },
            },
            "responses": {
                "200": {"description": "Done", "content": {"application/json": {"schema": SUCCESS}}},
                "4XX": failed,
                "5XX": failed,
            },
        }
        for path, operations in paths.items():
            if path.startswith("/eai/"):
                for operation in operations.values():
                    operation["responses"] |= {"4XX": failed, "5XX": failed}

    extend_openapi(app, extend)


def _body_schema(model: type[schemas._Body]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=False)
