"""Lists that a person uploads by page: kept sealed for minutes, looked at without effect, and then issued.

Issuing the same upload again gives the same links: each row without a reference of its own gets one of its upload.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from shared.brief_notes import BriefNotes
from shared.errors import Malformed, NotFound

from token_service.imports.dry_runs import DryRun
from token_service.imports.finishing import Finishing
from token_service.imports.importing import Row, import_rows
from token_service.imports.lists import CsvTargets, NdjsonTargets
from token_service.imports.rows import RowProblem, RowReader
from token_service.imports.writing import Outcome, RowWriter, RowWriters
from token_service.tokens.terms import Order, Rules

#: Longer lists come over the API, in any length.
MAX_BYTES: Final = 2_000_000
_SHOWN_ROWS: Final = 10
_SHOWN_PROBLEMS: Final = 100
_LINES: Final = (".ndjson", ".jsonl")
#: In events, as the client that imported. No client is called so: a client's id has no colon.
_PAGES: Final = "pages:"


class ListGone(NotFound):
    """The upload is older than its minutes, or was never made by this person."""

    code = "list_gone"

    def __init__(self) -> None:
        super().__init__("There is no such list any more.")


class UnusableValue(Malformed):
    """A value for all rows is not valid."""

    code = "malformed_default"

    def __init__(self, problem: RowProblem) -> None:
        super().__init__(f"{problem.field}: {problem.message}")
        self.field = problem.field or ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file, and what rows get that have no value of their own.

    Args:
        charset: None to find it out.
    """

    name: str
    content: bytes
    charset: str | None
    defaults: Mapping[str, str]


class ShownRow(NamedTuple):
    """One of the first rows that would become links."""

    line: int
    customer_id: str
    campaign_id: str
    expires_at: datetime | None


@dataclass(slots=True)
class Preview:
    """What would become of a list."""

    issued: int = 0
    refused: int = 0
    rows: list[ShownRow] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    campaigns: Counter[str] = field(default_factory=Counter)

    def take(self, answered: Sequence[tuple[Row[Any], Outcome]]) -> bytes:
        """Looks at rows and their outcomes; there is nothing to answer."""
        for (_, read, line), outcome in answered:
            if isinstance(outcome, RowProblem) or not isinstance(read, Order):
                self.refused += 1
                if len(self.problems) < _SHOWN_PROBLEMS and isinstance(outcome, RowProblem):
                    self.problems.append((line, outcome.as_text()))
                continue
            self.issued += 1
            self.campaigns[read.terms.campaign_id] += 1
            if len(self.rows) < _SHOWN_ROWS:
                self.rows.append(ShownRow(line, read.terms.customer_id, read.terms.campaign_id, outcome[1]))
        return b""


class Links(NamedTuple):
    """The list with its links, as a file."""

    name: str
    media_type: str
    content: bytes


class Uploads:
    """The uploads of all tenants."""

    def __init__(self, notes: BriefNotes, writers: RowWriters, rules: Rules) -> None:
        self.notes = notes
        self._writers = writers
        self._rules = rules

    async def keep(self, tenant: str, user_id: str, upload: Upload) -> str:
        """Keeps a list for the person who uploaded it; the same one once more is the same upload.

        Raises:
            UnusableValue, UnreadableList, MalformedHeader, UnsupportedMediaType: it cannot be read at all.
        """
        await self._open(upload)
        told = [upload.name, upload.charset, dict(upload.defaults)]
        head = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
        whole = orjson.dumps([tenant, user_id]) + head + upload.content
        upload_id = hashlib.sha256(whole).hexdigest()[:32]
        key = _key(user_id, upload_id)
        if await self.notes.begin(tenant, key):
            await self.notes.write(tenant, key, head + b"\n" + upload.content)
        return upload_id

    async def preview(self, tenant: str, user_id: str, upload_id: str) -> tuple[Upload, Preview]:
        """What would become of a kept list.

        Raises:
            ListGone
        """
        upload = await self._find(tenant, user_id, upload_id)
        targets, seen = await self._open(upload), Preview()
        rows = _referenced(targets.blocks(), upload_id)
        async for _ in import_rows(DryRun(self._writers, tenant), rows, seen.take):
            pass
        return upload, seen

    async def issue(self, tenant: str, user_id: str, upload_id: str) -> Links:
        """Issues the links of a kept list, and gives the list back with them.

        Raises:
            ListGone
        """
        upload = await self._find(tenant, user_id, upload_id)
        targets = await self._open(upload)
        finishing = Finishing(self._writers.database, tenant, _PAGES)
        rows = _referenced(targets.blocks(), upload_id)
        parts = [targets.head]
        async for part in import_rows(RowWriter(self._writers, tenant), rows, finishing.counting(targets.shape)):
            parts.append(part)
        await finishing.record()
        return Links(upload.name, targets.media_type, b"".join(parts))

    async def _open(self, upload: Upload) -> CsvTargets | NdjsonTargets:
        try:
            reader = RowReader(upload.defaults, self._rules)
        except RowProblem as problem:
            raise UnusableValue(problem) from None
        chunks = _in_one(upload.content)
        if upload.name.lower().endswith(_LINES):
            return await NdjsonTargets.open(chunks, upload.charset, reader)
        return await CsvTargets.open(chunks, upload.charset, reader)

    async def _find(self, tenant: str, user_id: str, upload_id: str) -> Upload:
        note = await self.notes.read(tenant, _key(user_id, upload_id))
        if not note:
            raise ListGone
        head, _, content = note.partition(b"\n")
        name, charset, defaults = orjson.loads(head)
        return Upload(name, content, charset, defaults)


def _key(user_id: str, upload_id: str) -> str:
    return f"{upload_id}.{hashlib.sha256(user_id.encode()).hexdigest()[:16]}"


async def _in_one(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _referenced(blocks: AsyncIterator[list[Row[Any]]], upload_id: str) -> AsyncIterator[list[Row[Any]]]:
    async for rows in blocks:
        yield [
            (record, read._replace(reference=f"upload-{upload_id}-{line}"), line)
            if isinstance(read, Order) and read.reference is None
            else (record, read, line)
            for record, read, line in rows
        ]
