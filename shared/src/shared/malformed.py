"""What a validation found wrong, as a refusal that names the fields and never repeats the values."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from shared.errors import Malformed

_NAMED: Final = 20


class MalformedJson(Malformed):
    """The body is not JSON."""

    code = "malformed_json"

    def __init__(self) -> None:
        super().__init__("The body is not JSON.")


def refusal_of_body(error: ValidationError, codes: Mapping[str, str] | None = None) -> Malformed:
    """What pydantic found wrong in a body.

    Args:
        codes: field → the stable code of its malformation, where a field has one of its own.
    """
    details = error.errors(include_url=False, include_input=False, include_context=False)
    if details[0]["type"] == "json_invalid":
        return MalformedJson()
    return refusal_of_details([(detail["loc"], detail["msg"]) for detail in details], codes)


def refusal_of_details(
    details: Sequence[tuple[Sequence[Any], str]], codes: Mapping[str, str] | None = None
) -> Malformed:
    """(place, message) of each thing that is wrong, the first one of them in the refusal's words."""
    named = [
        {
            "field": ".".join(str(part) for part in place) or "body",
            "message": message.removeprefix("Value error, "),
        }
        for place, message in details[:_NAMED]
    ]
    fields = [part for part in details[0][0] if isinstance(part, str)]
    code = (codes or {}).get(fields[0]) if fields else None
    return Malformed(f"The input is not valid: {named[0]['field']}: {named[0]['message']}", code=code, errors=named)
