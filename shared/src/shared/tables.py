"""What the tables of all services say in one way."""

from collections.abc import Callable, Collection, Mapping
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
#: The context under which a value of this row is sealed.
ContextOf = Callable[[Mapping[str, Any]], str]

_SEALED_AS: Final = "sealed_as"
_APPEND_ONLY: Final = "append_only"
_FORGOTTEN: Final = "forgotten"
_OF_OWNER: Final = "of_owner"
_IN_SANDBOX: Final = "in_sandbox"
_BUILT_BESIDE: Final = "built_beside"
_INSTEAD_OF: Final = "instead_of"
_FOR_ALL_TENANTS: Final = "for_all_tenants"


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


def of_owner() -> dict[Any, Any]:
    """`sa.Table(…, info=of_owner())`: the role that serves reads it, and only functions of the owner write to it."""
    return {_OF_OWNER: True}


def is_of_owner(info: dict[Any, Any]) -> bool:
    """Whether a table with this `info` is one."""
    return bool(info.get(_OF_OWNER))


def built_beside(*, instead_of: Collection[str] = ()) -> dict[Any, Any]:
    """`sa.Index(…, info=built_beside())`: no migration makes it; `migrate` builds it while the service writes.

    For every index on a table that may have many rows by then.

    Args:
        instead_of: the indexes whose place it takes. The next `migrate` after the one that builds it drops them: until
            then, processes of the former version may read by them.
    """
    return {_BUILT_BESIDE: True, _INSTEAD_OF: tuple(instead_of)}


def is_built_beside(info: dict[Any, Any]) -> bool:
    """Whether an index with this `info` is one."""
    return bool(info.get(_BUILT_BESIDE))


def formers_of(info: dict[Any, Any]) -> tuple[str, ...]:
    """The names of the indexes whose place one with this `info` takes."""
    found: tuple[str, ...] = info.get(_INSTEAD_OF, ())
    return found


def for_all_tenants() -> dict[Any, Any]:
    """`sa.Table(…, info=for_all_tenants())`: where tables are distributed by tenant, each server has all of its rows.

    For a small one that is written rarely and looked up without a tenant: a write needs all servers.
    """
    return {_FOR_ALL_TENANTS: True}


def is_for_all_tenants(info: dict[Any, Any]) -> bool:
    """Whether a table with this `info` is one."""
    return bool(info.get(_FOR_ALL_TENANTS))


@dataclass(frozen=True, slots=True)
class InSandbox:
    """What becomes of a table's rows when a sandbox tenant begins anew. As a rule all of them go.

    Args:
        stays: settings, credentials and audits stay.
        goes_if: an SQL condition; only rows that fulfil it go. It is fixed in the code.
        is_locked_first: the service locks rows of this table before any others, and so does the reset.
    """

    stays: bool = False
    goes_if: str = "true"
    is_locked_first: bool = False


def in_sandbox(*, stays: bool = False, goes_if: str = "true", is_locked_first: bool = False) -> dict[Any, Any]:
    """`sa.Table(…, info=in_sandbox(stays=True))`, and `append_only() | in_sandbox(stays=True)`."""
    return {_IN_SANDBOX: InSandbox(stays, goes_if, is_locked_first)}


def in_sandbox_of(info: dict[Any, Any]) -> InSandbox:
    """What becomes of the rows of a table with this `info`."""
    found: InSandbox = info.get(_IN_SANDBOX, InSandbox())
    return found


def forgetting_function(table: str) -> str:
    """The name of the function that deletes old rows of this append-only table."""
    return f"forget_{table}"


def sealed_as(context: ContextOf) -> dict[Any, Any]:
    """`sa.Column(…, info=sealed_as(…))`: what lies in this column is sealed under the context of its row.

    So that `shared.resealing` can move it to another key-encryption key.
    """
    return {_SEALED_AS: context}


def context_of(info: dict[Any, Any]) -> ContextOf | None:
    """How a column with this `info` is sealed; None if it is not."""
    found: ContextOf | None = info.get(_SEALED_AS)
    return found
