"""`make lint`: the OpenAPI documents of all audiences are valid, and keep the rules that readers and generators need.

The drills hold the same documents against redocly's and spectral's recommended rules, which need npm.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs
from developer_pages.audiences import AUDIENCES
from developer_pages.openapi import document_of, operations_of, service_documents
from openapi_spec_validator import OpenAPIV31SpecValidator

_PUBLIC_URL: Final = "https://points.example"
_PARAMETER: Final = re.compile(r"{([^}]+)}")
#: Readers do not know our modules.
_OWN_MODULE: Final = re.compile(r"\b(?:shared|points_ledger|sso_issuer|partner_onboarding|token_service)\.[a-z_]\w*")


def complaints(document: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a document, one line each."""
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        yield f"{'/'.join(map(str, error.absolute_path))}: {error.message.splitlines()[0]}"
    yield from (f"names the module {module}" for module in sorted({*_OWN_MODULE.findall(json.dumps(document))}))
    tags = {tag["name"] for tag in document["tags"]}
    schemes = set(document["components"].get("securitySchemes", {}))
    for path, method, operation in operations_of(document):
        place = f"{method.upper()} {path}"
        for member in ("operationId", "summary", "description", "security", "tags"):
            if member not in operation:
                yield f"{place}: has no {member}"
        yield from (f"{place}: tag {tag!r} is not explained" for tag in operation.get("tags", ()) if tag not in tags)
        for requirement in operation.get("security", ()):
            yield from (f"{place}: there is no scheme {name!r}" for name in requirement if name not in schemes)
        named = {one["name"] for one in operation.get("parameters", ()) if one.get("in") == "path"}
        if named != set(_PARAMETER.findall(path)):
            yield f"{place}: the parameters of its path are {sorted(named)}"
        statuses = set(operation["responses"])
        if not any(status[0] in "23" for status in statuses):
            yield f"{place}: never succeeds"
        if not any(status[0] == "4" for status in statuses):
            yield f"{place}: never refuses"
        yield from _false_examples(place, operation, document)
        yield from _missing_examples(place, operation, document["components"])


def _false_examples(place: str, operation: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for body in bodies:
        for media_type, media in body.get("content", {}).items():
            if "schema" not in media:
                continue
            examples = [one.get("value") for one in media.get("examples", {}).values()]
            if "example" in media:
                examples.append(media["example"])
            # The schema's references lead into the document.
            validator = jsonschema_rs.Draft202012Validator({**media["schema"], "components": document["components"]})
            for example in examples:
                for error in validator.iter_errors(example):
                    yield f"{place}: an example of {media_type}: {error.message}"


def _missing_examples(place: str, operation: dict[str, Any], components: dict[str, Any]) -> Iterator[str]:
    for status, response in operation["responses"].items():
        media = response.get("content", {}).get("application/json")
        if status.startswith("2") and media is not None:
            named = components["schemas"].get(media["schema"].get("$ref", "").rpartition("/")[2], {})
            if not {"example", "examples"} & media.keys() and "examples" not in named:
                yield f"{place}: its {status} has no example"


def main() -> None:
    """Ends with 1 and says what is wrong, if anything is."""
    services = service_documents(_PUBLIC_URL)
    found = [
        f"{audience.name}.json: {complaint}"
        for audience in AUDIENCES
        for complaint in complaints(document_of(audience, services, _PUBLIC_URL))
    ]
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
