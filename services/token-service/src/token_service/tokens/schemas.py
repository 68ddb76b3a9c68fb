"""What goes over the wire."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    ValidationInfo,
)
from shared.identifiers import Identifier
from shared.times import iso
from starlette.requests import Request

from token_service.tokens import orders
from token_service.tokens.domain import Token
from token_service.tokens.issuing import Issued
from token_service.tokens.orders import Order, url_link

_EXAMPLE: Final[dict[str, Any]] = {
    "base_url": "https://mystore.example/promotions",
    "customer_id": "customer-1",
    "campaign_id": "spring-sale",
    "duration": "PT24H",
    "product_id": "housing",
    "attributes": {"discount": 50, "segment": "gold"},
    "max_uses": 1,
}


def _read_duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H")
    return orders.parse_duration(str(value))


def _check_base_url(value: str, info: ValidationInfo) -> str:
    context = info.context or {}
    return orders.check_base_url(value, plain_http=bool(context.get("plain_http")))


def _pack_attributes(value: dict[str, Any]) -> dict[str, Any]:
    orders.pack_attributes(value)
    return value


class OrderBody(BaseModel):
    """A token to issue; everything but `base_url` comes back with each verification."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    base_url: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=orders.MAX_BASE_URL_CHARACTERS),
        AfterValidator(_check_base_url),
    ]
    customer_id: Identifier
    campaign_id: Identifier
    duration: Annotated[timedelta | None, BeforeValidator(_read_duration)]
    product_id: Identifier | None = None
    attributes: Annotated[dict[str, Any] | None, AfterValidator(lambda value: value and _pack_attributes(value))] = None
    max_uses: Annotated[int, Field(strict=True, ge=1, le=orders.MAX_USES)] | None = None
    not_before: Annotated[AwareDatetime, AfterValidator(orders.check_moment)] | None = None

    def order(self) -> Order:
        return Order(
            self.base_url,
            self.customer_id,
            self.campaign_id,
            self.duration,
            self.product_id,
            orders.pack_attributes(self.attributes or {}),
            self.max_uses,
            self.not_before,
        )


class VisitBody(BaseModel):
    """Who opened the link, as far as the customer's back end knows. For statistics, and against guessing."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "method": "GET", "address": "203.0.113.9"}]
        },
    )

    user_agent: Annotated[str, Field(strict=True, max_length=4096)] | None = None
    method: Annotated[str, Field(strict=True, max_length=32)] | None = None
    purpose: (
        Annotated[str, Field(strict=True, max_length=128, description="The browser's Sec-Purpose or Purpose.")] | None
    ) = None
    address: IPvAnyAddress | None = None


def context_of(request: Request) -> dict[str, bool]:
    """What the rules need to know of this service."""
    return {"plain_http": request.app.state.plain_http}


def issued_body(issued: Issued) -> dict[str, Any]:
    return {
        "token": issued.token,
        "url_link": issued.url_link,
        "issued_at": iso(issued.content.issued_at),
        "expires_at": _iso(issued.content.expires_at),
    }


def revoked_body(text: str, revoked_at: datetime) -> dict[str, Any]:
    return {"token": text, "revoked_at": iso(revoked_at)}


def stats_body(text: str, token: Token, refusals: dict[str, int]) -> dict[str, Any]:
    """What has become of a token so far."""
    content, uses = token.content, token.uses
    return {
        "token": text,
        "customer_id": content.customer_id,
        "campaign_id": content.campaign_id,
        "issued_at": iso(content.issued_at),
        "expires_at": _iso(content.expires_at),
        "revoked_at": _iso(token.revoked_at),
        "max_uses": content.max_uses,
        "issued": 1,
        "verified": uses.total,
        "verified_by": {"person": uses.by_people, "bot": uses.by_bots, "scanner": uses.by_scanners},
        "distinct": int(uses.by_people > 0),
        "first_verified_at": _iso(uses.first_at),
        "last_verified_at": _iso(uses.last_at),
        "refused": refusals,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def token_body(text: str, token: Token) -> dict[str, Any]:
    """Everything that a token encodes, and how often it was used."""
    content = token.content
    return {
        "token": text,
        "url_link": url_link(content.base_url, text),
        "base_url": content.base_url,
        "customer_id": content.customer_id,
        "campaign_id": content.campaign_id,
        "product_id": content.product_id,
        "attributes": orjson.Fragment(content.attributes or "{}"),
        "issued_at": iso(content.issued_at),
        "not_before": _iso(content.not_before),
        "expires_at": _iso(content.expires_at),
        "max_uses": content.max_uses,
        "uses": token.uses.total,
    }
