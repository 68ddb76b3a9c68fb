"""What `make lint` says of OpenAPI documents: nothing of the right ones, and each fault by its place."""

import copy
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from developer_pages.site import REPOSITORY

RIGHT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Sample", "version": "1"},
    "tags": [{"name": "things", "description": "Things."}],
    "paths": {
        "/things/{thing_id}": {
            "get": {
                "operationId": "find_thing",
                "summary": "Find",
                "description": "Finds a thing.",
                "tags": ["things"],
                "security": [{"basic": []}],
                "parameters": [{"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {
                    "200": {
                        "description": "Found",
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/Thing"},
                                "example": {"name": "one"},
                            }
                        },
                    },
                    "404": {"description": "Refused"},
                },
            }
        }
    },
    "components": {
        "schemas": {"Thing": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
    },
}
Change = Callable[[dict[str, Any], dict[str, Any]], object]
FAULTS: dict[str, Change] = {
    "has no summary": lambda _, operation: operation.pop("summary"),
    "tag 'other' is not explained": lambda _, operation: operation.update(tags=["other"]),
    "there is no scheme 'bearer'": lambda _, operation: operation.update(security=[{"bearer": []}]),
    "the parameters of its path are []": lambda _, operation: operation.pop("parameters"),
    "names the module shared.errors": lambda _, operation: operation.update(description="See `shared.errors`."),
    "never succeeds": lambda _, operation: operation["responses"].pop("200"),
    "never refuses": lambda _, operation: operation["responses"].pop("404"),
    "an example of application/json": lambda _, operation: operation["responses"]["200"]["content"][
        "application/json"
    ].update(example={"name": 1}),
    "its 200 has no example": lambda _, operation: operation["responses"]["200"]["content"]["application/json"].pop(
        "example"
    ),
    '"info" is a required property': lambda document, _: document.pop("info"),
}


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("openapi_rules", REPOSITORY / "docs" / "openapi_rules.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_right_document_gets_no_complaint(rules: ModuleType) -> None:
    assert list(rules.complaints(RIGHT)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(rules: ModuleType, fault: str) -> None:
    document = copy.deepcopy(RIGHT)
    FAULTS[fault](document, document["paths"]["/things/{thing_id}"]["get"])
    assert any(fault in complaint for complaint in rules.complaints(document))
