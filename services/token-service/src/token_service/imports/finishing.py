"""The event after the last answered row of an import."""

from collections.abc import Callable, Sequence
from typing import Any

from shared.db import Database
from shared.events.outbox import record

from token_service.events import import_finished
from token_service.imports.rows import RowProblem
from token_service.tables import events

Shape = Callable[[Sequence[tuple[Any, Any]]], bytes]


class Finishing:
    """Counts the rows of one import, and records its end. An import whose caller goes away has no end."""

    def __init__(self, database: Database, tenant: str, client_id: str) -> None:
        self._database = database
        self._tenant = tenant
        self._client_id = client_id
        self._rows = 0
        self._refused = 0

    def counting(self, shape: Shape) -> Shape:
        """`shape`, with what it shapes counted."""

        def counted(answered: Sequence[tuple[Any, Any]]) -> bytes:
            self._rows += len(answered)
            self._refused += sum(isinstance(outcome, RowProblem) for _, outcome in answered)
            return shape(answered)

        return counted

    async def record(self) -> None:
        """Every row was answered."""
        told = import_finished(self._client_id, self._rows, self._rows - self._refused)
        async with self._database.transaction() as connection:
            await record(connection, events, self._tenant, [told])
