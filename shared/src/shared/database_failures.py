"""What goes wrong with PostgreSQL: what is worth a retry, what was certainly not committed, and what is unknown."""

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.database_figures import count_error
from shared.errors import Unavailable
from shared.raw_batches import BROKEN

#: SQLSTATEs after which nothing was committed and a retry may succeed.
_PASSING_SQLSTATES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available in time
        "57014",  # statement timed out
        "25006",  # read-only: a switchover is under way
        "25P03",  # idle in a transaction for too long
        "26000",  # the server has forgotten a prepared statement
        "53000",  # too little of something
        "53100",  # the disk is full
        "53200",  # out of memory
        "53300",  # too many connections
        "57P01",  # shut down by the administrator
        "57P02",  # crashed
        "57P03",  # starting up
        "58030",  # a file cannot be written, as on a full disk
    }
)
CONNECTION_ERRORS = (*BROKEN, InterfaceError, PoolTimeout)


class OutcomeUnknown(Unavailable):
    """The connection was lost during COMMIT: the transaction may or may not be committed."""

    code = "outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "The answer of the database was lost. Ask for the present state, or repeat the call with the same key."
        )


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a driver error, also if SQLAlchemy wrapped it."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(inner, "sqlstate", None)
    return state if isinstance(state, str) else None


def count(error: BaseException) -> None:
    """Counts what went wrong with the database; refusals of a use case are none of it."""
    sqlstate = sqlstate_of(error)
    if sqlstate is not None or is_passing(error):
        count_error(error, sqlstate)


def is_refusal(error: BaseException) -> bool:
    """Whether the server itself reports that it did not commit.

    A broken connection has a SQLSTATE too (asyncpg gives 08003, PgBouncer 08P01 or 57P01), which says nothing about
    that.
    """
    state = sqlstate_of(error)
    return state is not None and not state.startswith(("08", "57P"))


def is_passing(error: BaseException) -> bool:
    """Whether a retry of the same transaction may succeed.

    A unique violation is not included: only the caller knows whether a retry would find the winner's row.
    """
    if _is_outdated_plan(error):
        return True
    state = sqlstate_of(error)
    if state is not None:
        return state in _PASSING_SQLSTATES or state.startswith("08")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (*CONNECTION_ERRORS, OperationalError))


def _is_outdated_plan(error: BaseException) -> bool:
    """Whether a migration changed a column under a prepared statement. asyncpg has dropped the statement by then.

    Its SQLSTATE (0A000) is not enough: the server uses it for every unsupported feature.
    """
    inner = error.orig if isinstance(error, DBAPIError) else error
    outdated = asyncpg.InvalidCachedStatementError
    return isinstance(inner, outdated) or (inner is not None and isinstance(inner.__cause__, outdated))
