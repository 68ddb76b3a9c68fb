"""The terms that a customer may order for a token, each declared once, in `Terms`.

From the declaration are made: the columns of the table and the statements on them (`tables`, `tokens.store`), the
order in JSON and its schema, the answer to a verification (`tokens.schemas`), the columns of a target list and the
query parameters of an import (`imports`), and the text under the row's MAC (`tokens.content`). To add a term, add a
field to `Terms` and a migration. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple, get_type_hints
from zoneinfo import ZoneInfo

import orjson
from shared.identifiers import MAX_IDENTIFIER_CHARACTERS
from shared.times import iso

from shared import identifiers
from token_service.tokens import orders
from token_service.tokens.format import FOREVER, expiry_minute_of
from token_service.tokens.lifetimes import Lifetime, end_of


class Rules(NamedTuple):
    """The facts about this service that the rules for orders need. `plain_http`: whether base URLs may be http."""

    plain_http: bool


@dataclass(frozen=True, slots=True)
class Term:
    """How one term is read, kept and shown.

    Attributes:
        read: from a value of JSON to what is kept. Raises ValueError with a sentence.
        of_text: from the text of a CSV column to the value of JSON.
        schema: what JSON may say, as JSON Schema.
        column: the PostgreSQL type of its column in `tokens`; None where the placement has it.
        is_of_list: whether one value may be given for all rows of a target list.
        can_change: whether a token that was issued may get another value.
        shown: from what is kept to JSON.
        comment: what the database says of its column.
    """

    read: Callable[[Any, Rules], Any]
    schema: Mapping[str, Any]
    column: str | None
    is_of_list: bool = True
    can_change: bool = False
    of_text: Callable[[str], Any] | None = None
    shown: Callable[[Any], Any] = lambda value: value
    comment: str | None = None


def read_identifier(value: Any, _rules: Rules) -> str:
    """An id that others choose.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(value, str):
        raise ValueError("must be text")
    return identifiers.read_identifier(value)


def _base_url(value: Any, rules: Rules) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return orders.check_base_url(value, plain_http=rules.plain_http)


def _max_uses(value: Any, _rules: Rules) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return orders.check_max_uses(value)


def _number(text: str) -> Any:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else text


def read_moment(value: Any, _rules: Rules) -> datetime:
    """A time with its zone, as ISO 8601.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(value, str):
        raise ValueError("must be text")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a time such as 2026-12-01T08:00:00Z") from None
    return orders.check_moment(moment)


def _attributes(value: Any, _rules: Rules) -> str | None:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return orders.pack_attributes(value)


_IDENTIFIER: Final = {"type": "string", "minLength": 1, "maxLength": MAX_IDENTIFIER_CHARACTERS}
#: Kept as it is until the token is purged.
_CUSTOMER: Final = _IDENTIFIER | {
    "description": "Your own key of the customer, kept in clear: an id; no personal data."
}
_ATTRIBUTES: Final = {
    "type": "object",
    "additionalProperties": True,
    "description": "What each verification is to return, kept in clear: no personal data.",
}
_BASE_URL: Final = {"type": "string", "format": "uri", "minLength": 1, "maxLength": orders.MAX_BASE_URL_CHARACTERS}
MOMENT: Final = {"type": "string", "format": "date-time"}
_MAX_USES: Final = {"type": "integer", "minimum": 1, "maximum": orders.MAX_USES}


class Terms(NamedTuple):
    """The terms of a token: stored, authenticated, and returned with each verification. Those without a default are
    required.

    The customer comes first, so that what follows can be compared as one: it is often the same for a whole list.
    """

    customer_id: Annotated[str, Term(read_identifier, _CUSTOMER, "text", is_of_list=False)]
    campaign_id: Annotated[str, Term(read_identifier, _IDENTIFIER, None)]
    base_url: Annotated[str, Term(_base_url, _BASE_URL, None)]
    product_id: Annotated[str | None, Term(read_identifier, _IDENTIFIER, "text")] = None
    #: A JSON object as text, with its names in order.
    attributes: Annotated[
        str | None,
        Term(
            _attributes,
            _ATTRIBUTES,
            "text",
            is_of_list=False,
            can_change=True,
            shown=lambda value: orjson.Fragment(value or "{}"),
            comment="JSON, as it was authenticated",
        ),
    ] = None
    not_before: Annotated[
        datetime | None,
        Term(read_moment, MOMENT, "timestamptz", shown=lambda value: None if value is None else iso(value)),
    ] = None
    max_uses: Annotated[int | None, Term(_max_uses, _MAX_USES, "integer", of_text=_number, can_change=True)] = None


def _declared() -> dict[str, Term]:
    hints = get_type_hints(Terms, include_extras=True)
    return {name: hints[name].__metadata__[0] for name in Terms._fields}


#: Name → declaration, in the order of `Terms`.
TERMS: Final[Mapping[str, Term]] = _declared()
#: Those that have a column of their own in `tokens`.
COLUMNS: Final[Mapping[str, str]] = {name: term.column for name, term in TERMS.items() if term.column is not None}
#: Those that may be changed after issuing.
CHANGEABLE: Final = tuple(name for name, term in TERMS.items() if term.can_change)
REQUIRED: Final = tuple(name for name in TERMS if name not in Terms._field_defaults)


class Order(NamedTuple):
    """A token to issue. A row of an import with the same `reference` gets the token that it had."""

    terms: Terms
    lifetime: Lifetime
    reference: str | None = None

    def content(self, issued_at: datetime, zone: ZoneInfo) -> "Content":
        """What the token encodes when it is issued at this moment.

        Args:
            zone: in which months and years are counted.

        Raises:
            ValueError: it would never be good, or lives longer than tokens can say.
        """
        not_before = self.terms.not_before
        expires_at = end_of(self.lifetime, issued_at, not_before, zone)
        expiry_minute_of(expires_at)
        if not_before is not None and expires_at is not None and not_before >= expires_at:
            raise ValueError("not_before must lie before the token expires")
        return Content(self.terms, issued_at, expires_at)


class Content(NamedTuple):
    """What a token encodes."""

    terms: Terms
    issued_at: datetime
    expires_at: datetime | None
    #: Of a token that was changed: the end it was made with, or `format.FOREVER`.
    first_expires_at: datetime | None = None

    @property
    def expiry_minute(self) -> int:
        """What the token itself says of its end, which does not change with the row."""
        return expiry_minute_of(self.expires_at if self.first_expires_at is None else self.first_expires_at)

    @property
    def latest_end(self) -> datetime:
        """The end that the token cannot outlive."""
        return self.first_expires_at or self.expires_at or FOREVER
