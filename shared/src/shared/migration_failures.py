"""What keeps a migration from being made, in one sentence for the person who has to mend it."""

from typing import Final
from urllib.parse import urlsplit

from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError, InterfaceError

from shared.database_failures import sqlstate_of

#: SQLSTATE → what to do. The server's own sentence stands before it.
_ADVICE: Final = {
    "28000": "see the role and pg_hba.conf",
    "28P01": "see the password in the URL",
    "3D000": "create the database, or see its name in the URL",
    "42501": "the role of the migrations must own the schema, or the database",
    "25006": "this server is a standby, or read-only: name the primary",
    "53300": "the server takes no more connections",
    "57P03": "try again in a moment",
    "42P06": "something else than these migrations made it",
    "42P07": "something else than these migrations made it: is it another service's database?",
    "55P03": "a transaction keeps a lock (see pg_stat_activity): end it, and migrate again",
}


class MigrationFailed(Exception):
    """The text is one sentence, and names neither password nor statement."""


def is_lock_timeout(error: BaseException) -> bool:
    """Whether a step waited for a lock for as long as it may."""
    return sqlstate_of(error) == "55P03"


def cause_of(error: BaseException, database_url: str) -> str | None:
    """The sentence; None for a fault of the migration itself, whose traceback helps."""
    place = place_of(database_url)
    if isinstance(error, CommandError):
        return f"{place} is at a revision of another version of this program: {error}"
    state = sqlstate_of(error)
    inner = error.orig if isinstance(error, DBAPIError) else error
    said = str(inner.__cause__ or inner).partition("\n")[0] if inner is not None else ""
    if state in _ADVICE:
        return f"{place}: {said}; {_ADVICE[state]}"
    if isinstance(error, (OSError, TimeoutError, InterfaceError)) or (state or "").startswith("08"):
        return f"{place} cannot be reached: {said or type(error).__name__}"
    return None


def place_of(database_url: str) -> str:
    """Which database it is, without its password."""
    parts = urlsplit(database_url)
    return f"the database {parts.path.strip('/') or '?'} at {parts.netloc.rpartition('@')[2]}"
