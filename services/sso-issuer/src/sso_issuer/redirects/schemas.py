"""Redirects and issuances over the wire."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp, iso

from sso_issuer.redirects.domain import ListedIssuance, Redirect
from sso_issuer.vendors.domain import Delivery

REDIRECT_EXAMPLE: Final[dict[str, Any]] = {"user_id": "user-1", "vendor_id": "rewards-shop"}


class RedirectOrderBody(BaseModel):
    """The user and the vendor of a redirect."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [REDIRECT_EXAMPLE]})

    user_id: Identifier
    vendor_id: Identifier


class RedirectBody(BaseModel):
    """Open `url`, or post `fields` to it."""

    vendor_id: str
    delivery: Delivery
    url: str
    fields: Mapping[str, str]
    token: str
    jti: str
    expires_at: Timestamp


def redirect_body(redirect: Redirect) -> dict[str, Any]:
    """What `RedirectBody` describes; a model would take longer to fill than the token to sign."""
    return {
        "vendor_id": redirect.vendor_id,
        "delivery": redirect.delivery.value,
        "url": redirect.url,
        "fields": redirect.fields,
        "token": redirect.token,
        "jti": redirect.jti,
        "expires_at": iso(redirect.expires_at),
    }


class IssuanceBody(BaseModel):
    """One issuance, without the token."""

    jti: str
    user_id: str
    vendor_id: str
    delivery: Delivery
    algorithm: str
    kid: str
    points: int = Field(description="What the token said is available.")
    client_id: str | None = Field(description="Who asked; null where the user's own browser did.")
    request_id: str
    issued_at: Timestamp
    expires_at: Timestamp
    redeemed_at: Timestamp | None

    @classmethod
    def of(cls, issuance: ListedIssuance) -> "IssuanceBody":
        return cls(
            jti=issuance.jti,
            user_id=issuance.user_id,
            vendor_id=issuance.vendor_id,
            delivery=issuance.delivery,
            algorithm=issuance.algorithm,
            kid=issuance.kid,
            points=issuance.points,
            client_id=issuance.client_id,
            request_id=issuance.request_id,
            issued_at=issuance.issued_at,
            expires_at=issuance.expires_at,
            redeemed_at=issuance.redeemed_at,
        )


class IssuancesQuery(BaseModel):
    """A page of the audit, newest first."""

    model_config = ConfigDict(extra="forbid")

    user_id: Identifier | None = None
    vendor_id: Identifier | None = None
    cursor: Cursor = None
    limit: int = Field(50, ge=1, le=200)


class IssuancesBody(BaseModel):
    issuances: list[IssuanceBody]
    next_cursor: NextCursor
