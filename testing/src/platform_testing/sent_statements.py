"""Every statement that the services send to the database while tests run, and the function that sends it."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NamedTuple

import asyncpg

_PACKAGES: Final = ("shared", "points_ledger", "sso_issuer", "partner_onboarding", "token_service")
#: They pass on what others send.
_PASSING_ON: Final = (
    "shared.db",
    "shared.raw_batches",
    "shared.raw_connections",
    "shared.database_url",
    "shared.kept_statements",
    "shared.readings",
    "shared.tenant_readings",
    "shared.tenant_statements",
)
_PREPARE: Final = re.compile(r"^(/\*.*?\*/ )?PREPARE \w+ AS ")
_CALL: Final = "EXECUTE s_"


class Sent(NamedTuple):
    #: The module and the function in it.
    place: str
    statement: str


@contextmanager
def listening(keep: Callable[[Sent], None]) -> Iterator[None]:
    """Tells `keep` of every statement of a service once. What a test itself sends is not among them."""
    known: set[str] = set()
    connection = asyncpg.Connection
    originals = {name: getattr(connection, name) for name in ("_get_statement", "execute", "_copy_in", "_copy_out")}

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def send(self: Any, statement: str, *args: Any, **kwargs: Any) -> Any:
            # A statement that the server keeps is the one that it prepares; a call has its values alone.
            text = _PREPARE.sub("", statement)
            if text not in known and _CALL not in text and (place := _place(sys._getframe(1))) is not None:
                known.add(text)
                keep(Sent(place, text))
            return original(self, statement, *args, **kwargs)

        return send

    for name, original in originals.items():
        setattr(connection, name, watched(original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(connection, name, original)


def _place(frame: FrameType | None) -> str | None:
    """The innermost function of a service; None if a test sends the statement, or a migration."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in _PACKAGES:
            if ".migrations" in module or module == "shared.migrating":
                return None
            if module not in _PASSING_ON:
                return f"{module}:{frame.f_code.co_qualname}"
        elif "/tests/" in frame.f_code.co_filename or module.startswith("platform_testing"):
            return None
        frame = frame.f_back
    return None
