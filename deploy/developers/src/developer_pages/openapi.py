"""One OpenAPI document an audience, out of the four services' own."""

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from partner_onboarding.app import create_app as create_onboarding
from partner_onboarding.settings import Settings as OnboardingSettings
from points_ledger.app import create_app as create_ledger
from points_ledger.settings import Settings as LedgerSettings
from pydantic import SecretStr
from shared.settings import Mode
from sso_issuer.app import create_app as create_issuer
from sso_issuer.settings import Settings as IssuerSettings
from token_service.app import create_app as create_tokens
from token_service.settings import Settings as TokenSettings

from developer_pages.audiences import Audience, is_for
from developer_pages.examples import add_examples

_METHODS: Final = ("get", "put", "post", "delete", "patch", "head")
#: Never public: for the platform's services and its operators' machines.
_INSIDE: Final = ("/internal", "/healthz", "/readyz", "/metrics")
_REF: Final = "#/components/"
#: What belongs to a tag, for its heading in a reference.
TAGS: Final = {
    "accounts": "Users' points: balances, credits, debits, statements.",
    "audit": "Who did what in the tenant.",
    "authority": "The tenant's OAuth authority: metadata, access tokens, introspection, revocation.",
    "campaigns": "Statistics and lists of a campaign's tokens, and its landing page.",
    "clients": "The register of clients, and what a client may see and change of itself.",
    "consents": "What the tenant's admin allows third parties.",
    "EAI": "Hold, confirm, roll back and refund points, and prove how it ended.",
    "events": "What happened: to poll, or delivered to endpoints as Standard Webhooks.",
    "partners": "Linking a user with a partner, step by step, and what a partner pays for.",
    "holds": "Open holds of all vendors.",
    "inspections": "What is wrong with a token, by name, and tokens to try a verifier on.",
    "integration requests": "Applications of third parties, and the operators' decisions.",
    "keys": "Public keys, and rotating the private ones.",
    "receipts": "The keys under which receipts are signed.",
    "redemptions": "Taking the token of a redirect back, once.",
    "redirects": "Sending a user to a vendor with a signed token.",
    "sandbox": "A tenant to try things in: its clock, and beginning anew.",
    "seals": "The chain over all entries of the tenant, to keep its head elsewhere.",
    "tokens": "Campaign tokens: issue, verify, change, revoke.",
    "users": "The tenant's users.",
    "vendors": "What was agreed with a vendor.",
}


def service_documents(public_url: str) -> dict[str, dict[str, Any]]:
    """By service, what it says of itself. Nothing is started and no database is asked."""
    key = _private_key()
    common: dict[str, Any] = {
        "mode": Mode.DEVELOPMENT,
        "database_url": SecretStr("postgresql://nobody@127.0.0.1:9/nowhere"),
        "public_url": public_url,
        "service_key": SecretStr(json.dumps(key)),
        **{f"{name}_url": "http://127.0.0.1:9" for name in ("ledger", "issuer", "onboarding", "tokens")},
        "service_peers": json.dumps({"keys": [{name: value for name, value in key.items() if name != "d"}]}),
    }
    sealing = {"key_encryption_keys": SecretStr(f"1:{_random()}")}
    peppers = {"secret_pepper": SecretStr(_random()), "account_name_key": SecretStr(_random())}
    apps: Mapping[str, FastAPI] = {
        "points-ledger": create_ledger(_fitting(LedgerSettings, common | sealing, 8001)),
        "sso-issuer": create_issuer(_fitting(IssuerSettings, common | sealing, 8002)),
        "partner-onboarding": create_onboarding(_fitting(OnboardingSettings, common | sealing | peppers, 8003)),
        "token-service": create_tokens(_fitting(TokenSettings, common | sealing, 8004)),
    }
    return {name: app.openapi() for name, app in apps.items()}


def document_of(audience: Audience, services: Mapping[str, dict[str, Any]], public_url: str) -> dict[str, Any]:
    """The audience's document: public paths alone, the gateway as server, only components that it uses."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": audience.title,
            "summary": audience.summary,
            "description": f"[Guides, samples and the meaning of every code]({public_url}/developers).",
            "version": "1.0.0",
            "contact": {"name": "Points platform for developers", "url": f"{public_url}/developers"},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": public_url}],
        "tags": [],
        "paths": {},
        "components": {},
    }
    for service, source in services.items():
        part = _renamed(_part_of(source, audience), document["components"], service)
        for path, operations in part["paths"].items():
            document["paths"].setdefault(path, {}).update(operations)
        _copy_components(part, document["components"])
    used = sorted({tag for _, _, operation in operations_of(document) for tag in operation.get("tags", ())})
    document["tags"] = [{"name": name, "description": TAGS[name]} for name in used]
    for _, _, operation in operations_of(document):
        # Some readers show descriptions alone, and take an operation without `security` for a forgotten one.
        operation.setdefault("description", f"{operation['summary']}.")
        operation.setdefault("security", [])
    add_examples(document)
    _check_operation_ids(document)
    return document


def operations_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, one by one."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _part_of(source: dict[str, Any], audience: Audience) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for path, method, operation in operations_of(source):
        if not path.startswith(_INSIDE) and is_for(audience, method, path):
            paths.setdefault(path, {})[method] = operation
    copied: dict[str, Any] = json.loads(json.dumps({"paths": paths, "components": source.get("components", {})}))
    return copied


def _renamed(part: dict[str, Any], taken: Mapping[str, Mapping[str, Any]], service: str) -> dict[str, Any]:
    """Two services may name different things alike: the later one's get the service's name before theirs."""
    prefix = "".join(word.capitalize() for word in service.split("-"))
    changed = {
        f"{_REF}{kind}/{name}": f"{_REF}{kind}/{prefix}{name}"
        for kind, entries in part["components"].items()
        for name, entry in entries.items()
        if name in taken.get(kind, {}) and taken[kind][name] != entry
    }
    if not changed:
        return part
    renamed: dict[str, Any] = _with_refs(part, changed)
    for old, new in changed.items():
        kind, name = old.removeprefix(_REF).split("/")
        entries = renamed["components"][kind]
        entries[new.rpartition("/")[2]] = entries.pop(name)
    return renamed


def _with_refs(value: Any, changed: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: changed.get(one, one) if key == "$ref" and isinstance(one, str) else _with_refs(one, changed)
            for key, one in value.items()
        }
    return [_with_refs(one, changed) for one in value] if isinstance(value, list) else value


def _copy_components(part: dict[str, Any], components: dict[str, Any]) -> None:
    """Those that the paths lead to, directly or through others; security schemes are named without a reference."""
    waiting = list(_refs(part["paths"]))
    while waiting:
        kind, _, name = waiting.pop().removeprefix(_REF).partition("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = part["components"][kind][name]
            waiting += _refs(components[kind][name])
    for name, scheme in part["components"].get("securitySchemes", {}).items():
        components.setdefault("securitySchemes", {}).setdefault(name, scheme)


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "$ref" and isinstance(one, str) and one.startswith(_REF):
                yield one
            else:
                yield from _refs(one)
    elif isinstance(value, list):
        for one in value:
            yield from _refs(one)


def _check_operation_ids(document: dict[str, Any]) -> None:
    """Generated clients name their functions by it: each once."""
    seen: set[str] = set()
    for path, method, operation in operations_of(document):
        name = operation.get("operationId") or method
        if path.startswith("/events/v1/"):
            name = f"{name}_of_{path.split('/')[3]}"
        if name in seen or name == method:
            words = [word for word in path.replace("{", "").replace("}", "").split("/") if word and word != "v1"]
            name = "_".join([name, *words]).replace(".", "_").replace("-", "_")
        operation["operationId"] = name
        seen.add(name)


def _fitting(settings: Any, values: Mapping[str, Any], port: int) -> Any:
    """The settings of a service, out of those values that it knows."""
    return settings(port=port, **{name: value for name, value in values.items() if name in settings.model_fields})


def _random() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _private_key() -> dict[str, str]:
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()

    def encode(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    public = numbers.public_numbers
    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": "points-ledger",
        "alg": "ES256",
        "x": encode(public.x),
        "y": encode(public.y),
        "d": encode(numbers.private_value),
    }
