"""Figures about the database that a process uses."""

from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

_errors = Counter(
    "database_errors",
    "What the database refused, by SQLSTATE; `timeout` and `connection` where it said nothing.",
    ["sqlstate"],
)
_in_use = Gauge("database_connections_in_use", "Connections of a pool that somebody uses now.", ["pool"])
_at_most = Gauge("database_connections_at_most", "The most connections of a pool.", ["pool"])
_clock = Gauge("database_clock_ahead_seconds", "How far this machine's clock is ahead of the database's.")
_revision = Gauge("database_revision", "1 for the revision of the schema, as /readyz last saw it.", ["revision"])
_NO_SQLSTATE: Final = "connection"


def count_error(error: BaseException, sqlstate: str | None) -> None:
    """Counts an error of the database or of the way there."""
    _errors.labels(sqlstate or ("timeout" if isinstance(error, TimeoutError) else _NO_SQLSTATE)).inc()


def watch_pool(pool: str, at_most: int, in_use: Callable[[], int]) -> None:
    """Tells of a pool from now on; the last one of a name counts."""
    _at_most.labels(pool).set(at_most)
    _in_use.labels(pool).set_function(in_use)


def tell_database(revision: str, clock_ahead_seconds: float) -> None:
    """What a look at the database found."""
    _revision.clear()
    _revision.labels(revision).set(1)
    _clock.set(clock_ahead_seconds)
