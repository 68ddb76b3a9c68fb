"""Pages of a list: one pager, and one code `invalid_cursor`, for all lists of all services.

A cursor is opaque to its caller. It carries the place where the page before ended, and a digest of whose list this is
and how it was asked for. So it leads on in this list alone: with other filters, in another caller's list, or made up it
is refused. It needs no secret, since it gives no right: what a caller may see is decided without it.

    class IssuancePlace(NamedTuple):
        issued_at: Instant
        jti: Identifier

    ISSUANCES = Listing("issuances", IssuancePlace)          # its name stays for ever: it is part of every cursor

    @router.get("/sso/v1/issuances")
    async def issuances(caller: …, cursor: Cursor = None, limit: …) -> IssuancesBody:
        pages = ISSUANCES.of(caller.tenant, user_id=user_id, vendor_id=vendor_id)
        found = await store.list_issuances(…, before=pages.place(cursor), limit=limit + 1)
        page = pages.cut(found, limit, lambda row: IssuancePlace(row.issued_at, row.jti))
        return IssuancesBody(issuances=page.items, next_cursor=page.next_cursor)

A place is a NamedTuple of whole numbers, identifiers and instants. Its fields are read strictly: choose types that
refuse what the database would refuse, `Identifier` instead of `str`, `Number` instead of `int`, `Instant` instead of
`datetime`.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Final, Generic, TypeVar

import orjson
from fastapi import Query
from pydantic import Field, TypeAdapter, ValidationError

from shared.errors import Malformed

P = TypeVar("P", bound=tuple[Any, ...])
T = TypeVar("T")

_VERSION: Final = b"\x01"
_DIGEST_BYTES: Final = 11
#: A place has two or three short fields.
_LONGEST: Final = 2000

#: A query parameter; None asks for the first page.
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before, unchanged.")]
#: A field of an answer.
NextCursor = Annotated[str | None, Field(description="Ask with it for what follows; null at the end.")]
#: A field of a place: a number that a `bigint` holds.
Number = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class InvalidCursor(Malformed):
    """The cursor was not given out for this list, asked for by this caller in this way."""

    code = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("A cursor is the next_cursor of the page before, unchanged, for the same list and filters.")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list; `next_cursor` leads to what follows, None at the end."""

    items: list[T]
    next_cursor: str | None


class Listing(Generic[P]):
    """A list that is handed out in pages. A constant of its service.

    Args:
        name: unique within the service; changing it makes all its cursors invalid.
        place: a NamedTuple that says where in the list's order a row stands.
    """

    def __init__(self, name: str, place: type[P]) -> None:
        self._name = name
        self._adapter: TypeAdapter[P] = TypeAdapter(place)

    def of(self, tenant: str, *owner: str, **filters: object) -> "Pages[P]":
        """The list as one caller asks for it.

        Args:
            owner: whose list it is within the tenant, such as the vendor or the account, where it is somebody's.
            filters: by name. One that is None is left out, so that a filter which is added later leaves the cursors
                good that were given out without it.
        """
        given = {name: _plain(value) for name, value in filters.items() if value is not None}
        asked = orjson.dumps([self._name, tenant, owner, given], option=orjson.OPT_SORT_KEYS)
        return Pages(self._adapter, hashlib.blake2b(asked, digest_size=_DIGEST_BYTES, person=b"cursor").digest())


class Pages(Generic[P]):
    """One list, asked for in one way; made by `Listing.of`."""

    def __init__(self, adapter: TypeAdapter[P], digest: bytes) -> None:
        self._adapter = adapter
        self._head = _VERSION + digest

    def place(self, cursor: str | None) -> P | None:
        """Behind which row the page begins; None for the first page.

        Raises:
            InvalidCursor: it was not given out for this list.
        """
        if cursor is None:
            return None
        if len(cursor) > _LONGEST or not cursor.isascii():
            raise InvalidCursor
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            # The second look refuses other spellings of the same bytes.
            if not raw.startswith(self._head) or _encode(raw) != cursor:
                raise InvalidCursor
            return self._adapter.validate_json(raw[len(self._head) :], strict=True)
        except (binascii.Error, ValidationError):
            raise InvalidCursor from None

    def place_or_top(self, cursor: str | None) -> P | None:
        """As `place`, for a page that people read: it begins at the top where the cursor is not valid."""
        try:
            return self.place(cursor)
        except InvalidCursor:
            return None

    def cursor(self, place: P) -> str:
        """The cursor of the page that begins behind `place`."""
        return _encode(self._head + orjson.dumps(list(place)))

    def cut(self, found: Sequence[T], limit: int, place_of: Callable[[T], P], *, reached: P | None = None) -> Page[T]:
        """The page out of up to `limit + 1` rows: the last one only tells that more follow.

        Args:
            reached: where the look for rows ended although more may follow.
        """
        items = list(found[:limit])
        if len(found) > limit and items:
            return Page(items, self.cursor(place_of(items[-1])))
        return Page(items, None if reached is None else self.cursor(reached))


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _plain(value: object) -> object:
    """A filter's meaning: the same instant in another zone is the same filter."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date | str | int | float):
        return value
    raise TypeError(f"a filter is not a {type(value).__name__}")
