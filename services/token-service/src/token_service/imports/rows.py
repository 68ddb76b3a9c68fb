"""A row of a target list as an order. Pure; the same rules as for a single token, without pydantic's share.

Every value may come from the row or, where the row has none, from the defaults of the whole list.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from shared.identifiers import is_identifier

from token_service.tokens import orders
from token_service.tokens.orders import Order

#: What a row or the defaults may say of a token; everything else in a row is only echoed.
FIELDS: Final = Order._fields
REQUIRED: Final = ("base_url", "customer_id", "campaign_id", "duration")
#: One value for a whole list makes no sense of these.
NO_DEFAULT: Final = frozenset({"customer_id", "attributes", "reference"})
_MISSING: Final = object()
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


class RowReader:
    """Reads rows, each with the defaults of the whole list.

    Args:
        plain_http: whether base URLs may be http.

    Raises:
        RowProblem: a default could be no row's value.
    """

    def __init__(self, defaults: Mapping[str, str], *, plain_http: bool) -> None:
        self._checks: dict[str, Callable[[Any], Any]] = {
            "base_url": partial(_base_url, plain_http=plain_http),
            "customer_id": _identifier,
            "campaign_id": _identifier,
            "duration": _duration,
            "product_id": _identifier,
            "max_uses": _max_uses,
            "not_before": _not_before,
            "attributes": _attributes,
            "reference": _identifier,
        }
        self._places = {field: place for place, field in enumerate(FIELDS)}
        self._columns = {field: (self._places[field], check) for field, check in self._checks.items()}
        self._values: list[Any] = [None] * len(FIELDS)
        for field in REQUIRED:
            self._values[self._places[field]] = _MISSING
        for field, value in defaults.items():
            self._values[self._places[field]] = self._checked(field, value)
        #: The fields that every row must have, since there is no default.
        self.required = [field for field in REQUIRED if field not in defaults]
        self._required = [self._places[field] for field in self.required]

    def order(self, given: Iterable[tuple[str, Any]]) -> Order:
        """The order that a row's fields describe; what is empty counts as not there, other names are passed over.

        Raises:
            RowProblem: names the first field that is wrong.
        """
        values = self._values.copy()
        for field, value in given:
            column = self._columns.get(field)
            if column is not None and value is not None and value != "":
                place, check = column
                try:
                    values[place] = check(value)
                except ValueError as error:
                    raise RowProblem(str(error), field=field) from None
        for place in self._required:
            if values[place] is _MISSING:
                raise RowProblem("is missing", field=FIELDS[place])
        return Order._make(values)

    def _checked(self, field: str, value: Any) -> Any:
        try:
            return self._checks[field](value)
        except ValueError as error:
            raise RowProblem(str(error), field=field) from None


def _base_url(value: Any, *, plain_http: bool) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return orders.check_base_url(value, plain_http=plain_http)


def _identifier(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    if not is_identifier(value):
        raise ValueError(_IDENTIFIER)
    return value


def _duration(value: Any) -> timedelta | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be seconds or an ISO 8601 duration such as PT24H")
    return orders.parse_duration(str(value))


def _max_uses(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return orders.check_max_uses(value)


def _not_before(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be text")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time such as 2026-12-01T08:00:00Z") from None
    return orders.check_moment(moment)


def _attributes(value: Any) -> str | None:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return orders.pack_attributes(value)
