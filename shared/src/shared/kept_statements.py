"""Statements that the server keeps prepared under a name, so that one message carries them with BEGIN or COMMIT.

The driver sends a statement with parameters in a message of its own. A message of text may hold several statements, but
the server would plan each anew; so the text calls prepared ones:

    BEGIN; EXECUTE s_1f0c…('[{"tenant": "demo", "user_id": "ann"}]')
    EXECUTE s_77ab…('[…]', '[…]', …); COMMIT

A batch of the ledger takes three round trips like that, and not five.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import blake2s
from typing import Final
from weakref import WeakKeyDictionary

import asyncpg

#: What a statement may be called with.
Value = str | int | datetime | None | list[str] | list[str | None] | list[int]

_MARK: Final = re.compile(r"\s*(/\*.*?\*/)")


class KeptStatements:
    """Those of a few connections."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[asyncpg.Connection, set[str]] = WeakKeyDictionary()

    async def keep(self, connection: asyncpg.Connection, sql: str) -> None:
        """Has the server prepare `sql` on this connection, unless it has."""
        names = self._names.get(connection)
        if names is None:
            names = self._names[connection] = set()
        name, mark = _named(sql)
        if name in names:
            return
        try:
            # nosemgrep: sql-in-f-string — a statement of the code, under a name made of its digest
            await connection.execute(f"{mark}PREPARE {name} AS {sql}")
        except BaseException:
            # It may be prepared nevertheless, and a second time would fail.
            connection.terminate()
            raise
        names.add(name)


def can_keep(connection: asyncpg.Connection) -> bool:
    """Whether literals can be written on this connection as `calling` does."""
    return bool(connection.get_settings().standard_conforming_strings == "on")


def calling(sql: str, values: Iterable[Value]) -> str:
    """The text that calls a kept statement, which has one parameter at least.

    A comment that `sql` begins with stays in front, as others look for it.

    Raises:
        ValueError: a value cannot be written as UTF-8 without a zero byte.
    """
    name, mark = _named(sql)
    text = f"{mark}EXECUTE {name}({', '.join(map(_literal, values))})"
    # What cannot be sent must fail now, and not when a lost answer would leave the outcome unknown.
    text.encode()
    return text


@lru_cache(maxsize=256)
def _named(sql: str) -> tuple[str, str]:
    mark = _MARK.match(sql)
    return f"s_{blake2s(sql.encode(), digest_size=12).hexdigest()}", "" if mark is None else f"{mark[1]} "


def _literal(value: Value) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("PostgreSQL knows no text with a zero byte")
        return "'" + value.replace("'", "''") + "'"
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]" if value else "'{}'"
    return f"'{value.isoformat()}'" if isinstance(value, datetime) else str(value)
