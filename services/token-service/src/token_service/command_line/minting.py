"""`mint`: a target list from a file, the same rows with links to standard output, progress on standard error."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from token_service.command_line.workplace import Parts
from token_service.imports.importing import Row, import_rows
from token_service.imports.lists import CsvTargets, NdjsonTargets, TargetList
from token_service.imports.rows import RowProblem, RowReader
from token_service.imports.writing import Outcome, RowWriter

_CHUNK_BYTES: Final = 65_536
R = TypeVar("R")


@dataclass(slots=True)
class Tallied:
    """How many rows got a token and how many were refused."""

    minted: int = 0
    refused: int = 0


async def mint(
    parts: Parts,
    tenant: str,
    source: BinaryIO,
    target: BinaryIO,
    *,
    length: int | None,
    as_ndjson: bool,
    charset: str | None,
    defaults: Mapping[str, str],
) -> Tallied:
    """Mints the list.

    Raises:
        MalformedHeader, RowProblem: the list, or a default for all its rows, is malformed.
    """
    reader = RowReader(defaults, parts.rules)
    tallied = Tallied()
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[minted]:,} links, {task.fields[refused]:,} refused"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Minting", total=length, minted=0, refused=0)

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
                yield chunk
                progress.update(task, advance=len(chunk), minted=tallied.minted, refused=tallied.refused)

        writer = parts.row_writers.of(tenant)
        if as_ndjson:
            await _carry(writer, await NdjsonTargets.open(chunks(), charset, reader), target, tallied)
        else:
            await _carry(writer, await CsvTargets.open(chunks(), charset, reader), target, tallied)
        progress.update(task, minted=tallied.minted, refused=tallied.refused)
    return tallied


async def _carry(writer: RowWriter, target_list: TargetList[R], target: BinaryIO, tallied: Tallied) -> None:
    target.write(target_list.head)

    def shape(answered: Sequence[tuple[Row[R], Outcome]]) -> bytes:
        refused = sum(isinstance(outcome, RowProblem) for _, outcome in answered)
        tallied.refused += refused
        tallied.minted += len(answered) - refused
        return target_list.shape(answered)

    async for answered in import_rows(writer, target_list.blocks(), shape):
        await asyncio.to_thread(target.write, answered)
    target.flush()


def is_ndjson(path: Path) -> bool:
    """Whether the file's name says NDJSON."""
    return path.suffix in {".ndjson", ".jsonl"}
