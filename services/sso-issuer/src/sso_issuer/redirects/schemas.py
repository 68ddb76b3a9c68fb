"""Redirects and issuances over the wire."""

import base64
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from shared.errors import Malformed
from shared.identifiers import Identifier, is_identifier
from shared.times import Timestamp

from sso_issuer.redirects.domain import ListedIssuance, Redirect
from sso_issuer.vendors.domain import Delivery


class RedirectIn(BaseModel):
    """Whom to send where."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user_id": "user-1", "vendor_id": "rewards-shop"}]}
    )

    user_id: Identifier
    vendor_id: Identifier


class RedirectOut(BaseModel):
    """All that is needed to send the user there: open `url`, or post `fields` to it."""

    vendor_id: str
    delivery: Delivery
    url: str
    fields: Mapping[str, str]
    token: str
    jti: str
    expires_at: Timestamp

    @classmethod
    def of(cls, redirect: Redirect) -> "RedirectOut":
        return cls(
            vendor_id=redirect.vendor_id,
            delivery=redirect.delivery,
            url=redirect.url,
            fields=redirect.fields,
            token=redirect.token,
            jti=redirect.jti,
            expires_at=redirect.expires_at,
        )


class IssuanceOut(BaseModel):
    """What was issued, never the token."""

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
    def of(cls, issuance: ListedIssuance) -> "IssuanceOut":
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


class IssuancePage(BaseModel):
    issuances: list[IssuanceOut]
    next_cursor: str | None = Field(description="Ask with it for older ones; null at the end.")


class MalformedCursor(Malformed):
    code = "malformed_cursor"

    def __init__(self) -> None:
        super().__init__("A cursor is the next_cursor of the page before, unchanged.")


def cursor_behind(issuance: ListedIssuance) -> str:
    """Where the next page begins; opaque to the caller."""
    place = f"{issuance.issued_at.isoformat()} {issuance.jti}"
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def place_of(cursor: str) -> tuple[datetime, str]:
    """The place in the order of issuances that a cursor stands for.

    Raises:
        MalformedCursor: it was not made here.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        moment, _, jti = text.partition(" ")
        issued_at = datetime.fromisoformat(moment)
    except ValueError:
        raise MalformedCursor from None
    if issued_at.tzinfo is None or not is_identifier(jti):
        raise MalformedCursor
    return issued_at, jti
