"""Who reads which part of the API: an audience is a list of public paths."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Audience:
    """Those who build against the platform for one purpose.

    Args:
        name: as in `/developers/openapi/{name}.json`.
        paths: prefixes in whole segments; with a method before it, that method alone (`GET /v1/users`).
    """

    name: str
    title: str
    summary: str
    paths: tuple[str, ...]


_OWN_CLIENT = ("GET /v1/clients/self", "POST /v1/clients/self")
_AUTHORITY = ("/tenants", "/.well-known")

AUDIENCES = (
    Audience(
        "vendor",
        "Points platform for rewards vendors",
        "Hold, confirm and roll back points; verify the redirect token of a user; reconcile.",
        (
            "/eai/v1",
            "/sso/v1/tokens",
            "/sso/v1/inspect",
            "GET /sso/v1/vendors/{vendor_id}/examples",
            "/.well-known/jwks.json",
            "GET /tenants/{tenant}/jwks.json",
            "/tenants/{tenant}/receipts",
            "/events/v1/points",
            "/events/v1/redirects",
            *_OWN_CLIENT,
        ),
    ),
    Audience(
        "third_party",
        "Points platform for third parties",
        "Apply, be consented to by a tenant's admin, get access tokens, read what was consented to.",
        (
            *_AUTHORITY,
            "POST /v1/integration-requests",
            "GET /v1/accounts",
            "POST /v1/accounts",
            "PUT /v1/accounts",
            "GET /v1/users",
            "PUT /v1/users",
            "/v1/tokens",
            "/v1/campaigns",
            "/events/v1/links",
            *_OWN_CLIENT,
        ),
    ),
    Audience(
        "partner",
        "Points platform for partners",
        "Lead people to registration, link them, activate and remove them, read the bill.",
        ("/user/partner", "/events/v1/links", *_OWN_CLIENT),
    ),
    Audience(
        "campaign",
        "Points platform for campaign back ends",
        "Issue and verify campaign tokens, import target lists, read statistics.",
        ("/v1/tokens", "/v1/campaigns", "/events/v1/tokens", *_OWN_CLIENT),
    ),
    Audience(
        "platform",
        "Points platform for the platform's own back ends",
        "Accounts, credits and debits, users, redirects, vendors, keys, clients and audit.",
        ("/v1", "/sso/v1", "/events/v1", *_AUTHORITY),
    ),
)


def is_for(audience: Audience, method: str, path: str) -> bool:
    """Whether an operation belongs to the audience's part."""
    for own in audience.paths:
        wanted, _, prefix = own.rpartition(" ")
        if wanted in {"", method.upper()} and (path == prefix or path.startswith(f"{prefix}/")):
            return True
    return False
