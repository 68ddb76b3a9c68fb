"""A row of a target list as an order. Pure, with the rules of a single token but without pydantic.

Each value comes from the row, or else from the defaults of the list.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from token_service.tokens.lifetimes import read_duration
from token_service.tokens.terms import REQUIRED, TERMS, Order, Rules, Term, Terms, read_identifier, read_moment

_REFERENCE: Final = "reference"
_DURATION: Final = "duration"
_EXPIRES_AT: Final = "expires_at"


def _reader_of(term: Term) -> Callable[[Any, Rules], Any]:
    """Reads what a column of CSV or a member of NDJSON says; a number may stand in quotation marks in both."""
    read, of_text = term.read, term.of_text
    if of_text is None:
        return read
    return lambda value, rules: read(of_text(value) if isinstance(value, str) else value, rules)


_READ: Final[Mapping[str, Callable[[Any, Rules], Any]]] = {
    **{name: _reader_of(term) for name, term in TERMS.items()},
    _DURATION: lambda value, _rules: read_duration(value),
    _EXPIRES_AT: read_moment,
    _REFERENCE: read_identifier,
}
#: The fields of a row or of the defaults; other columns are only echoed.
FIELDS: Final = tuple(_READ)
ATTRIBUTE_PREFIX: Final = "attributes."
#: What may be given for a whole list.
DEFAULTS: Final = (*(name for name, term in TERMS.items() if term.is_of_list), _DURATION, _EXPIRES_AT)
_TERMS: Final = len(TERMS)
_DURATION_PLACE, _END_PLACE = FIELDS.index(_DURATION), FIELDS.index(_EXPIRES_AT)
_MISSING: Final = object()
#: What `_make` does, without its checks: there are millions of rows.
_new_tuple: Final = tuple.__new__


def is_column(name: str) -> bool:
    """Whether a column of this name says something of a token; all others are only echoed."""
    return name in FIELDS or name == "attributes" or name.startswith(ATTRIBUTE_PREFIX)


class RowProblem(Exception):
    """A row cannot become a token, with the reason and the field."""

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
    """Reads rows with the defaults of the list.

    Raises:
        RowProblem: a default is no valid value.
    """

    def __init__(self, defaults: Mapping[str, str], rules: Rules) -> None:
        self._rules = rules
        self._columns = {field: (place, read) for place, (field, read) in enumerate(_READ.items())}
        self._values: list[Any] = [None] * len(FIELDS)
        #: The required fields without a default.
        self.required = [field for field in REQUIRED if field not in defaults]
        #: Whether every row must say how long its token is good.
        self.requires_lifetime = _DURATION not in defaults and _EXPIRES_AT not in defaults
        for field in self.required:
            self._values[self._columns[field][0]] = _MISSING
        self._values[_DURATION_PLACE] = self._values[_END_PLACE] = _MISSING
        for field, value in defaults.items():
            place, read = self._columns[field]
            try:
                self._values[place] = read(value, rules)
            except ValueError as error:
                raise RowProblem(str(error), field=field) from None
        if _DURATION in defaults and _EXPIRES_AT in defaults:
            raise RowProblem("must not be given beside a duration", field=_EXPIRES_AT)
        self._duration, self._end = self._values[_DURATION_PLACE], self._values[_END_PLACE]
        self._lifetime = self._duration if self._end is _MISSING else self._end
        self._required = [self._columns[field][0] for field in self.required]

    def order(self, given: Iterable[tuple[str, Any]]) -> Order:
        """The order of a row's fields. Empty fields count as missing; unknown ones are ignored.

        Raises:
            RowProblem: names the first field that is wrong.
        """
        values = self._values.copy()
        columns, rules = self._columns, self._rules
        for field, value in given:
            column = columns.get(field)
            if column is not None and value is not None and value != "":
                place, read = column
                try:
                    values[place] = read(value, rules)
                except ValueError as error:
                    raise RowProblem(str(error), field=field) from None
        for place in self._required:
            if values[place] is _MISSING:
                raise RowProblem("is missing", field=FIELDS[place])
        # Without a word of its own, which is the common case, a row has the list's.
        is_default = values[_DURATION_PLACE] is self._duration and values[_END_PLACE] is self._end
        lifetime = self._lifetime if is_default else self._lifetime_of(values)
        if lifetime is _MISSING:
            raise RowProblem("is missing", field=_DURATION)
        return _new_tuple(Order, (_new_tuple(Terms, values[:_TERMS]), lifetime, values[-1]))

    def _lifetime_of(self, values: list[Any]) -> Any:
        duration, end = values[_DURATION_PLACE], values[_END_PLACE]
        if end is self._end:
            return duration
        if duration is self._duration:
            return end
        raise RowProblem("must not be given beside a duration", field=_EXPIRES_AT)
