"""Statements of SQLAlchemy that only read, compiled once, for `Database.read`.

_BALANCE = Reading(sa.select(accounts.c.available).where(accounts.c.user_id == sa.bindparam("user_id")))

rows = await database.read(_BALANCE, user_id=user_id)
rows[0].available
"""

from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy does not type it


class Row(asyncpg.Record):  # type: ignore[misc]  # asyncpg does not type it
    """A row whose columns are attributes, like SQLAlchemy's."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Reading:
    """A statement and the order of its parameters.

    Columns come as asyncpg gives them: of JSON, that is the text.

    Args:
        statement: each `bindparam` in it is given by its name at every execution.
    """

    def __init__(self, statement: sa.Select[Any]) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql: Final = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def values(self, given: dict[str, Any]) -> list[Any]:
        """The parameters in the statement's order.

        Raises:
            KeyError: one is missing.
        """
        return [given[name] if name in given else self._fixed[name] for name in self._names]
