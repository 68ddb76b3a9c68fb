"""What the tables of all services say in one way."""

from dataclasses import dataclass
from typing import Any, Final

#: `sa.MetaData(schema=…, naming_convention=NAMES)`: constraints are called as PostgreSQL would call them.
NAMES: Final = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(table_name)s_%(constraint_name)s_check",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
}
_APPEND_ONLY: Final = "append_only"
_FORGOTTEN: Final = "forgotten"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """When rows of an append-only table may go.

    Args:
        by: the column with the time when a row was written.
        unless: an SQL condition on the row `t`, which keeps it; it is fixed in the code.
    """

    by: str
    unless: str = "false"


def append_only(forgotten: Forgotten | None = None) -> dict[Any, Any]:
    """`sa.Table(…, info=append_only())`: the role that serves may insert and read, and change nothing.

    Args:
        forgotten: lets it delete old rows all the same, by `shared.retention`; without it rows stay for ever.
    """
    return {_APPEND_ONLY: True, _FORGOTTEN: forgotten}


def is_append_only(info: dict[Any, Any]) -> bool:
    """Whether a table with this `info` is one."""
    return bool(info.get(_APPEND_ONLY))


def forgotten_of(info: dict[Any, Any]) -> Forgotten | None:
    """When rows of a table with this `info` may go; None if it is not append-only, or keeps its rows for ever."""
    found: Forgotten | None = info.get(_FORGOTTEN)
    return found


def forgetting_function(table: str) -> str:
    """The name of the function that deletes old rows of this append-only table."""
    return f"forget_{table}"
