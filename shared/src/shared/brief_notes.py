"""Sealed notes that live for some minutes: the answer to a form, a secret on its way to a person.

The notes lie in the service's table of answers, under a kind with a colon, which no client's id has.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Database
from shared.sealing import Sealer

#: After this time (seconds) a note that was begun and not written counts as abandoned.
_WITHOUT_THE_DISK: Final = sa.text("SET LOCAL synchronous_commit = off")
_ABANDONED: Final = timedelta(seconds=30)


class BriefNotes:
    """Notes of one kind.

    Args:
        table: made by `shared.idempotency.define_answers_table`.
        kind: a name of its own, such as `form`.
        kept_for: how long a note can be read.
    """

    def __init__(self, database: Database, table: sa.Table, sealer: Sealer, kind: str, kept_for: timedelta) -> None:
        self._database = database
        self._table = table
        self._sealer = sealer
        self._kind = f"{kind}:"
        self.kept_for = kept_for

    async def begin(self, tenant: str, key: str) -> bool:
        """Begins a note. Of several calls at once, one returns True and writes it."""
        table = self._table
        begun = {"tenant": tenant, "client_id": self._kind, "key": key, "fingerprint": b"", "answer": b""}
        statement = postgresql.insert(table).values(**begun)
        # The new row's time is now.
        age = statement.excluded.created_at - table.c.created_at
        statement = statement.on_conflict_do_update(
            index_elements=[table.c.tenant, table.c.client_id, table.c.key],
            set_={"answer": b"", "created_at": statement.excluded.created_at},
            where=sa.or_(age > self.kept_for, (table.c.answer == b"") & (age > _ABANDONED)),
        )
        async with self._transaction() as connection:
            return (await connection.execute(statement.returning(table.c.key))).first() is not None

    async def write(self, tenant: str, key: str, note: bytes) -> None:
        """Writes a note that was begun."""
        sealed = self._sealer.seal(note, self._context(tenant, key))
        async with self._transaction() as connection:
            await connection.execute(sa.update(self._table).where(*self._is(tenant, key)).values(answer=sealed))

    async def read(self, tenant: str, key: str) -> bytes | None:
        """The note; empty while it is being written; None if there is none."""
        query = sa.select(self._table.c.answer).where(
            *self._is(tenant, key), self._table.c.created_at >= sa.func.now() - self.kept_for
        )
        async with self._database.transaction() as connection:
            sealed = (await connection.execute(query)).scalar_one_or_none()
        return self._sealer.open(sealed, self._context(tenant, key)) if sealed else sealed

    async def remove(self, tenant: str, key: str) -> None:
        """Removes a note; a missing one is fine."""
        async with self._transaction() as connection:
            await connection.execute(sa.delete(self._table).where(*self._is(tenant, key)))

    async def forget_old(self) -> int:
        """Deletes expired notes; returns their number."""
        table = self._table
        async with self._database.transaction() as connection:
            result = await connection.execute(
                sa.delete(table).where(
                    table.c.client_id == self._kind, table.c.created_at < sa.func.now() - self.kept_for
                )
            )
            return result.rowcount

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """Does not wait for the disk: a note that a crash of the database loses is one that nobody reads again."""
        async with self._database.transaction() as connection:
            await connection.execute(_WITHOUT_THE_DISK)
            yield connection

    def _is(self, tenant: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        columns = self._table.c
        return (columns.tenant == tenant, columns.client_id == self._kind, columns.key == key)

    def _context(self, tenant: str, key: str) -> str:
        return "\n".join(("brief note", self._kind, tenant, key))
