"""`python clients/schemas.py`: writes `clients/schemas.json`, from which the types of both clients are generated.

It holds those schemas of the OpenAPI documents that the clients use. With `--check` it writes nothing, and ends with 1
where the file is not what the documents give.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from developer_pages.audiences import AUDIENCES
from developer_pages.openapi import document_of, service_documents

_FILE: Final = Path(__file__).with_suffix(".json")
_PUBLIC_URL: Final = "https://points.example"
#: By audience, what the clients use. What these lead to comes with them.
_USED: Final = {
    "vendor": {
        "ChangedBody": "ChangedTransaction",
        "EventsBody": "Events",
        "EventBody": "PlatformEvent",
        "FoundTransactionBody": "FoundTransaction",
        "JwksBody": "KeySet",
        "JwkBody": "PublicKey",
        "ReceiptBody": "ReceiptAnswer",
        "RedeemedBody": "RedeemedToken",
        "RefundShown": "Refund",
        "State": "TransactionState",
        "TransactionsBody": "Transactions",
        "TransactionBody": "Transaction",
        "VendorBalanceBody": "VendorBalance",
    },
    "partner": {
        "BillBody": "Bill",
        "CodesBody": "HandshakeCodes",
        "RedeemedHandshakeBody": "RedeemedHandshake",
        "UserEventsBody": "UserEvents",
    },
    "campaign": {
        "IssuedBody": "IssuedToken",
        "LookBody": "FoundToken",
        "OrderBody": "TokenOrder",
        "TokenBody": "VerifiedToken",
        "VisitBody": "Visit",
    },
}
_REF: Final = "#/components/schemas/"
#: Members that make no type, and what types of either language say badly: that one of two members must be there.
_LEFT_OUT: Final = ("title", "example", "examples", "default", "oneOf", "format")


def document() -> dict[str, Any]:
    """An OpenAPI document of nothing but the schemas."""
    services = service_documents(_PUBLIC_URL)
    schemas: dict[str, Any] = {}
    for audience in AUDIENCES:
        names = _USED.get(audience.name, {})
        given = document_of(audience, services, _PUBLIC_URL)["components"]["schemas"] if names else {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            own = names.get(name, name.removesuffix("Body"))
            if own not in schemas:
                schemas[own], more = _bare(given[name], names)
                waiting += more
    info = {"title": "What the clients use of the platform", "version": "1.0.0"}
    return {"openapi": "3.1.0", "info": info, "paths": {}, "components": {"schemas": dict(sorted(schemas.items()))}}


def _bare(schema: Any, names: dict[str, str]) -> tuple[Any, list[str]]:
    """The schema with the clients' names in its references, and the names that they had."""
    if isinstance(schema, list):
        parts = [_bare(one, names) for one in schema]
        return [one for one, _ in parts], [name for _, more in parts for name in more]
    if not isinstance(schema, dict):
        return schema, []
    bare: dict[str, Any] = {}
    found: list[str] = []
    for member, value in schema.items():
        if member == "$ref":
            name = value.removeprefix(_REF)
            bare[member] = _REF + names.get(name, name.removesuffix("Body"))
            found.append(name)
        elif member == "properties":
            for field, one in value.items():
                bare.setdefault(member, {})[field], more = _bare(one, names)
                found += more
        elif member not in _LEFT_OUT and (member, value) != ("additionalProperties", False):
            bare[member], more = _bare(value, names)
            found += more
    return bare, found


def main() -> None:
    """Writes the file, or with `--check` compares it."""
    wanted = json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        _FILE.write_text(wanted, encoding="utf-8")
    elif not _FILE.is_file() or _FILE.read_text(encoding="utf-8") != wanted:
        sys.exit(f"{_FILE.name} is not what the OpenAPI documents give: make client-types")


if __name__ == "__main__":
    main()
