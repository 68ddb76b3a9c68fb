"""Examples of answers are made of their schemas; `make lint` holds each against its schema."""

from typing import Any

from developer_pages.examples import add_examples, example_of

COMPONENTS: dict[str, Any] = {
    "Order": {
        "type": "object",
        "required": ["transactionid", "refundid"],
        "properties": {
            "transactionid": {"type": "string"},
            "points": {"type": "integer"},
            "state": {"enum": ["held", "confirmed"]},
            "createdat": {"type": "string"},
            "refundid": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "expiredat": {"type": "string"},
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
        },
    },
    "Part": {"type": "object", "properties": {"refused": {"additionalProperties": {"type": "integer"}}}},
    "Known": {"type": "object", "examples": [{"a": 1}]},
}


def test_members_have_the_values_of_their_names_as_far_as_the_schema_allows() -> None:
    assert example_of({"$ref": "#/components/schemas/Order"}, COMPONENTS) == {
        "transactionid": "order-4711",
        "points": 100,
        "state": "confirmed",
        "createdat": "2026-11-21T08:15:30.123Z",
        "refundid": None,
        "parts": [{"refused": {"token_expired": 1}}],
    }
    assert example_of({"enum": ["unused", "used"]}, COMPONENTS, "state") == "unused"
    assert example_of({"type": "string", "pattern": "^x$"}, COMPONENTS, "vendor_id") == "vendor_id"


def test_good_answers_in_json_get_one_and_those_that_have_one_keep_it() -> None:
    def answer(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": schema, **more}}}

    responses: dict[str, Any] = {
        "200": answer({"$ref": "#/components/schemas/Part"}),
        "201": answer({"$ref": "#/components/schemas/Known"}),
        "202": answer({"type": "object"}, example={"b": 2}),
        "204": {},
        "404": answer({"type": "object"}),
    }
    add_examples({"components": {"schemas": COMPONENTS}, "paths": {"/p": {"get": {"responses": responses}}}})
    found = {status: one["content"]["application/json"].get("example") for status, one in responses.items() if one}
    assert found == {"200": {"refused": {"token_expired": 1}}, "201": None, "202": {"b": 2}, "404": None}
