"""Where the next page of an audit begins, newest first; opaque to the caller."""

import base64
from datetime import datetime

from shared.errors import Malformed
from shared.identifiers import is_identifier


class MalformedCursor(Malformed):
    code = "malformed_cursor"

    def __init__(self) -> None:
        super().__init__("A cursor is the next_cursor of the page before, unchanged.")


def cursor_behind(moment: datetime, name: str) -> str:
    """The cursor behind a row that was written at `moment` under `name`."""
    place = f"{moment.isoformat()} {name}"
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def place_of(cursor: str) -> tuple[datetime, str]:
    """The place in the order of the rows that a cursor stands for.

    Raises:
        MalformedCursor: it was not made here.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        moment, _, name = text.partition(" ")
        at = datetime.fromisoformat(moment)
    except ValueError:
        raise MalformedCursor from None
    if at.tzinfo is None or not is_identifier(name):
        raise MalformedCursor
    return at, name
