"""What goes over the wire."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from shared.identifiers import Identifier
from shared.times import iso

from token_service.tokens import orders
from token_service.tokens.domain import Token
from token_service.tokens.issuing import Issued
from token_service.tokens.orders import Order, url_link

_EXAMPLE = {
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
    not_before: Annotated[AwareDatetime, AfterValidator(orders.check_not_before)] | None = None

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


def issued_body(issued: Issued) -> dict[str, Any]:
    return {
        "token": issued.token,
        "url_link": issued.url_link,
        "issued_at": iso(issued.content.issued_at),
        "expires_at": _iso(issued.content.expires_at),
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
