"""What the tables of all services say in one way."""

from typing import Any, Final

#: `sa.Table(…, info=APPEND_ONLY)`: the role that serves may insert and read, and change nothing.
APPEND_ONLY: Final[dict[Any, Any]] = {"append_only": True}


def is_append_only(info: dict[Any, Any]) -> bool:
    """Whether a table with this `info` is one."""
    return bool(info.get("append_only"))
