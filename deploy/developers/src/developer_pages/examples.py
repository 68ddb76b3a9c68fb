"""Examples of answers, made of their schemas: what a member is called says what stands there."""

import re
from collections.abc import Mapping
from typing import Any, Final

_TIME: Final = "2026-11-21T08:15:30.123Z"
_IS_TIME: Final = re.compile(r"(?:_at|At|at|Dates|until|since|_of|timestamp|start|not_before|_from|clock)$")
_AUTHORITY: Final = "https://points.example/tenants/demo"
#: Members that this example has not, since it tells of the usual case: null, or left out.
_ABSENT: Final = frozenset(
    {
        *("rolledbackat", "expiredat", "rejectedat", "cancelledat", "refundid", "disabled_at", "disabled_because"),
        *("error", "next_cursor", "resume_cursor", "revoked_at", "by_seconds", "decided_at", "decided_by", "jwks"),
        *("company_named", "former_secret_expires_at", "not_before", "removedAt", "removalDates", "published_until"),
        *("next_attempt_at", "token_client_id", "former"),
    }
)
#: Member → what stands there, where its schema allows it.
_VALUES: Final[Mapping[str, Any]] = {
    "": "user-1",
    "access_token": "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiIuLi4ifQ.c2ln",
    "actor": "platform",
    "algorithm": "ES256",
    "ahead_seconds": 1200.0,
    "attempts": 1,
    "aud": "rewards-shop",
    "audience": "rewards-shop",
    "authorizationCode": "5HueCGU8rMjxEXxiPuD5BD",
    "authorization_endpoint": f"{_AUTHORITY}/oauth/authorize",
    "available": 400,
    "balance": 400,
    "base_url": "https://shop.example/autumn",
    "button": "Redeem",
    "campaign_id": "autumn-sale",
    "claims": {"userid": "user-1", "points": 500, "iss": _AUTHORITY, "aud": "rewards-shop", "jti": "7f1c0a5e2b"},
    "client_id": "shop-1",
    "client_secret": "shown-this-once",
    "cloud_api_url": "https://points.example",
    "code": "expired",
    "code_challenge_methods_supported": "S256",
    "contact_email": "dev@shop.example",
    "contact_name": "Ada Lovelace",
    "customer_id": "customer-1",
    "data": {"transactionid": "order-4711", "userid": "user-1", "state": "confirmed", "points": 100},
    "description": "a coffee mug",
    "designated_user": "api-user@demo.example",
    "destination_url": "https://shop.example/autumn/offer",
    "details": {"client_id": "shop-1"},
    "email": "ada@example.com",
    "endpoint_id": "ep_7f1c0a5e2b",
    "entries": 1000,
    "entry_id": 4711,
    "event_id": "evt_65b1d0a5c8e4f7391b02c6aa",
    "exp": 1795248990,
    "expires_in": 600,
    "fields": {},
    "firstname": "Ada",
    "fix": "Redeem tokens at once, and keep your clock right.",
    "goals": "Show points in our app.",
    "grant_type": "client_credentials",
    "grant_types_supported": "client_credentials",
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "header": {"alg": "ES256", "kid": "es256-2026-11", "typ": "JWT"},
    "held": 100,
    "hold_seconds": 900,
    "iat": 1795248925,
    "id": "evt_65b1d0a5c8e4f7391b02c6aa",
    "id_token_signing_alg_values_supported": "RS256",
    "introspection_endpoint": f"{_AUTHORITY}/oauth/introspect",
    "ip_allow_list": "192.0.2.0/24",
    "iss": _AUTHORITY,
    "issuer": _AUTHORITY,
    "jti": "0194c7f0-6a5e-7c31-b1d0-a5c8e4f7391b",
    "jwks_uri": f"{_AUTHORITY}/jwks.json",
    "kid": "es256-2026-11",
    "kty": "EC",
    "landing_url": "https://partner.example/welcome",
    "language": "en",
    "lapsed": 400,
    "lastname": "Lovelace",
    "lifetime_seconds": 60,
    "live_secrets": 2,
    "longest_overlap_seconds": 2592000,
    "max_uses": 1,
    "message": "The token has expired.",
    "milliseconds": 42,
    "month": "2026-11",
    "months": 1,
    "name": "Rewards shop",
    "next_after": "evt_65b1d0a5c8e4f7391b02c6aa",
    "organisation": "Shop Ltd",
    "origin": "192.0.2.0/24",
    "partner_id": "partner-1",
    "points": 100,
    "points_now": 500,
    "pointsdeducted": 100,
    "pointsheld": 0,
    "pointsrefunded": 0,
    "pointsrequested": 100,
    "previous": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    "product_id": "mug",
    "reason": "a purchase",
    "recorded_by": "admin@demo.example",
    "redirect_uris": "https://shop.example/callback",
    "redirect_url": "https://shop.example/enter",
    "reference": "purchase-4711",
    "registerCode": "9QvG4k8sWmTzYc3RbNfHa7",
    "request_id": "7f1c0a5e2b",
    "requests_per_minute": 600000,
    "partner_requests_per_minute": 600,
    "response_modes_supported": "query",
    "response_types_supported": "code",
    "revocation_endpoint": f"{_AUTHORITY}/oauth/revoke",
    "scope": "points:read",
    "scopes": "points:read",
    "scopes_supported": "points:read",
    "secret": "shown-this-once",
    "state": "confirmed",
    "status": 204,
    "sub": "api-user",
    "subject": "api-user",
    "subject_types_supported": "public",
    "tenant": "demo",
    "tenant_authority_url": _AUTHORITY,
    "text": "10 % off until Sunday",
    "title": "Your voucher",
    "token": "2548a499367f4c2f87fd4873a97a6ff6",
    "token_endpoint": f"{_AUTHORITY}/oauth/token",
    "token_type": "Bearer",
    "total": 500,
    "transactionid": "order-4711",
    "type": "points.confirmed",
    "types": "points.confirmed",
    "url": "https://shop.example/points-events",
    "url_link": "https://shop.example/autumn/2548a499367f4c2f87fd4873a97a6ff6",
    "use": "sig",
    "userId": "user-1",
    "user_id": "user-1",
    "userid": "user-1",
    "vendor_id": "rewards-shop",
    "why": "The token is signed and valid.",
    "alg": "ES256",
}
_REDIRECT: Final = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyaWQiOiJ1c2VyLTEifQ.c2ln"
#: Component → what its members are there; `...` leaves one out.
_OF_COMPONENT: Final[Mapping[str, Mapping[str, Any]]] = {
    "ChangedBody": {"message": "points successfully deducted", "expiresat": ...},
    "ConsentBody": {"state": "granted"},
    "ConsentHistoryBody": {"state": "granted"},
    "DeliveryBody": {"state": "delivered"},
    "EntryBody": {"kind": "credit", "transactionid": None, "vendor_id": None},
    "ExampleBody": {"name": "genuine", "token": _REDIRECT, "expect": "accept"},
    "FoundTransactionBody": {"refunds": []},
    "InspectionBody": {"verdict": "bad"},
    "LookBody": {"state": "used"},
    "RecipientBody": {"state": "used"},
    "RedirectBody": {"url": f"https://shop.example/enter?token={_REDIRECT}", "token": _REDIRECT},
}
#: Keys of objects that have any.
_KEYS: Final = {"opened_by": "person", "verified_by": "person", "refused": "token_expired", "words": "en"}
_JSON: Final = "application/json"


def add_examples(document: dict[str, Any]) -> None:
    """Adds an example to each good answer of an OpenAPI document that has none yet."""
    components = document["components"].get("schemas", {})
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {}).get(_JSON)
                if status.startswith("2") and content is not None and not _has_example(content, components):
                    content["example"] = example_of(content["schema"], components)


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any], member: str = "") -> Any:
    """What may stand where the schema is, as the value of a member."""
    name = _name_of(schema)
    if name is not None:
        schema = components[name]
    if "examples" in schema:
        return schema["examples"][0]
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return example_of(next(one for one in schema[several] if one.get("type") != "null"), components, member)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        wanted = _VALUES.get(member)
        return wanted if wanted in schema["enum"] else schema["enum"][0]
    if "properties" in schema:
        said = _object_of(schema, components) | dict(_OF_COMPONENT.get(name or "", {}))
        return {member: value for member, value in said.items() if value is not ...}
    if schema.get("type") == "array":
        return [example_of(schema["items"], components, member)]
    more = schema.get("additionalProperties")
    if isinstance(more, dict) and not isinstance(_VALUES.get(member), dict):
        return {_KEYS.get(member, _VALUES[""]): example_of(more, components, f"{member}{{}}")}
    return _plain(schema, member)


def _object_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in schema["properties"].items():
        if name not in _ABSENT:
            found[name] = example_of(value, components, name)
        elif name in schema.get("required", ()):
            may_be_null = any(one.get("type") == "null" for one in value.get("anyOf", ()))
            found[name] = None if may_be_null else example_of(value, components, name)
    return found


def _plain(schema: Mapping[str, Any], member: str) -> Any:
    known = _VALUES.get(member) if member else None
    match schema.get("type"):
        case "string" if member == "details":
            return "For our web site and our app."
        case "string":
            if isinstance(known, str) and re.search(schema.get("pattern", ""), known):
                return known
            return _TIME if schema.get("format") == "date-time" or _IS_TIME.search(member) else member or _VALUES[""]
        case "integer":
            return known if isinstance(known, int) else 1
        case "number":
            return known if isinstance(known, float) else 1.5
        case "boolean":
            return True
        case _:
            return known if isinstance(known, dict) else {}


def _has_example(content: Mapping[str, Any], components: Mapping[str, Any]) -> bool:
    name = _name_of(content["schema"])
    return bool({"example", "examples"} & content.keys()) or (name is not None and "examples" in components[name])


def _name_of(schema: Mapping[str, Any]) -> str | None:
    reference = schema.get("$ref")
    return None if reference is None else str(reference).rpartition("/")[2]
