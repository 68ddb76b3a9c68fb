"""A row of a target list as an order. Pure; the same rules as for a single token, without pydantic's share.

Every value may come from the row or, where the row has none, from the defaults of the whole list.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from shared.identifiers import is_identifier

from token_service.tokens import orders
from token_service.tokens.orders import Order

#: What a row or the defaults may say of a token; everything else in a row is only echoed.
FIELDS: Final = (
    "base_url",
    "customer_id",
    "campaign_id",
    "duration",
    "product_id",
    "max_uses",
    "not_before",
    "attributes",
    "reference",
)
REQUIRED: Final = ("base_url", "customer_id", "campaign_id", "duration")
#: One value for a whole list makes no sense of these.
NO_DEFAULT: Final = frozenset({"customer_id", "attributes", "reference"})
_IDENTIFIER: Final = "must be 1 to 128 printable characters without a blank at either end"


class RowProblem(Exception):
    """A row cannot become a token; says why, and in which field."""

    def __init__(self, message: str, *, code: str = "malformed_row", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "detail": self.message, "field": self.field}

    def as_text(self) -> str:
        return f"{self.code}: {self.message}" if self.field is None else f"{self.code}: {self.field} {self.message}"


def order_of(values: Mapping[str, Any], defaults: Mapping[str, str], *, plain_http: bool) -> Order:
    """The order that a row describes.

    Raises:
        RowProblem: names the first field that is wrong.
    """
    field = "base_url"
    try:
        base_url = orders.check_base_url(_text(values, defaults, field), plain_http=plain_http)
        field = "customer_id"
        customer_id = _identifier(_text(values, defaults, field))
        field = "campaign_id"
        campaign_id = _identifier(_text(values, defaults, field))
        field = "duration"
        duration = orders.parse_duration(_duration_text(_value(values, defaults, field)))
        field = "product_id"
        product = _optional(values, defaults, field)
        product_id = None if product is None else _identifier(product)
        field = "max_uses"
        max_uses = _max_uses(values.get(field) or defaults.get(field))
        field = "not_before"
        moment = _optional(values, defaults, field)
        not_before = None if moment is None else _not_before(moment)
        field = "attributes"
        attributes = _attributes(values.get(field))
        field = "reference"
        given = _optional(values, defaults, field)
        reference = None if given is None else _identifier(given)
    except ValueError as error:
        raise RowProblem(str(error), field=field) from None
    return Order(base_url, customer_id, campaign_id, duration, product_id, attributes, max_uses, not_before, reference)


def check_defaults(defaults: Mapping[str, str], *, plain_http: bool) -> None:
    """Raises RowProblem where a default could be no row's value."""
    fitting = {"base_url": "https://x.example", "customer_id": "x", "campaign_id": "x", "duration": "never"}
    order_of(fitting | dict(defaults), {}, plain_http=plain_http)


def _value(values: Mapping[str, Any], defaults: Mapping[str, str], field: str) -> Any:
    value = values.get(field)
    if value is None or value == "":
        value = defaults.get(field)
    if value is None:
        raise ValueError("is missing")
    return value


def _text(values: Mapping[str, Any], defaults: Mapping[str, str], field: str) -> str:
    value = _value(values, defaults, field)
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _optional(values: Mapping[str, Any], defaults: Mapping[str, str], field: str) -> str | None:
    value = values.get(field)
    if value is None or value == "":
        return defaults.get(field)
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _identifier(value: str) -> str:
    if not is_identifier(value):
        raise ValueError(_IDENTIFIER)
    return value


def _duration_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H")
    return str(value)


def _max_uses(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return orders.check_max_uses(value)


@lru_cache(maxsize=1024)
def _not_before(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time such as 2026-12-01T08:00:00Z") from None
    return orders.check_moment(moment)


def _attributes(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return orders.pack_attributes(value)
