"""`python -m points_ledger reconcile`: a vendor's list from a file, the findings as a table or as CSV."""

import asyncio
import csv
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, BinaryIO, Final

import typer
from pydantic import TypeAdapter, ValidationError
from shared.db import Database
from shared.errors import Refusal
from shared.identifiers import Identifier, Tenant
from shared.reports import GRACE_SECONDS, Reports
from shared.settings import load_database_settings
from shared.times import Instant

from points_ledger.lists import Line
from points_ledger.reconciliations.domain import Finding, Kind, Stand, StatedLine, Summary
from points_ledger.reconciliations.service import STATED, ReconciliationService
from points_ledger.settings import Settings

_CHUNK_BYTES: Final = 65_536
#: How long (seconds) one statement may take: an operator waits longer than a caller.
_SECONDS: Final = 60.0
_COLUMNS: Final = ("finding", "transactionid", "your_state", "your_points", "our_state", "our_points", "line", "detail")
_WIDTHS: Final = (13, 36, 11, 11, 11, 10, 6, 0)


class Form(StrEnum):
    """How findings are written."""

    TABLE = "table"
    CSV = "csv"


def reconcile(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="The vendor's list, CSV or NDJSON; - for standard input.")
    ],
    tenant: Annotated[str, typer.Option(help="Whose points.")],
    vendor: Annotated[str, typer.Option(help="Whose transactions.")],
    since: Annotated[
        str | None, typer.Option(help="Only the ledger's are looked for from then on; by default 31 days before.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="And before then; by default, and at most, until now.")] = None,
    form: Annotated[Form, typer.Option("--format", help="A table, or CSV with a header.")] = Form.TABLE,
) -> None:
    """Compare a vendor's list with the ledger; status 1 if there are differences, 2 if it is no list."""
    try:
        # As callers' ids are compared.
        vendor_id = TypeAdapter(Identifier).validate_python(vendor)
        TypeAdapter(Tenant).validate_python(tenant)
        begin, end = (TypeAdapter(Instant | None).validate_python(value) for value in (since, until))
        summary = asyncio.run(_compare(file, tenant, vendor_id, begin, end, form))
    except ValidationError as error:
        typer.echo(error.errors()[0]["msg"], err=True)
        raise typer.Exit(2) from None
    except Refusal as refusal:
        typer.echo(refusal.message, err=True)
        raise typer.Exit(2) from None
    told = {"yours": summary.yours, "ours": summary.ours, "agreed": summary.agreed} | {
        kind.value: summary.found.get(kind, "unknown") for kind in Kind
    }
    typer.echo(", ".join(f"{name} {count}" for name, count in told.items()), err=form is Form.CSV)
    if any(summary.found.values()):
        raise typer.Exit(1)


async def _compare(
    file: BinaryIO, tenant: str, vendor_id: str, since: datetime | None, until: datetime | None, form: Form
) -> Summary:
    url = load_database_settings(Settings).database_url.get_secret_value()
    reports = Reports(
        Database(url, pool_size=1, statement_seconds=_SECONDS + GRACE_SECONDS), seconds=_SECONDS, at_once=1
    )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    try:
        found = ReconciliationService(reports).compare(
            tenant, vendor_id, await _lines_of(file), client_id="command line", since=since, until=until
        )
        _write(_COLUMNS, form, writer)
        async for one in found:
            if isinstance(one, Summary):
                return one
            for finding in one:
                _write(_row(finding), form, writer)
        raise AssertionError("a comparison ends with a summary")
    finally:
        await reports.close()


def _write(row: tuple[object, ...], form: Form, writer: Any) -> None:
    if form is Form.CSV:
        writer.writerow(row)
        return
    cells = zip(row, _WIDTHS, strict=True)
    typer.echo("  ".join(f"{'' if cell is None else cell!s:{width}}" for cell, width in cells).rstrip())


def _row(finding: Finding) -> tuple[object, ...]:
    return (
        finding.kind.value,
        finding.transaction_id,
        *_cells(finding.yours),
        *_cells(finding.ours),
        finding.line,
        finding.detail,
    )


def _cells(stand: Stand | None) -> tuple[str, int] | tuple[None, None]:
    return (None, None) if stand is None else (stand.state.value, stand.points)


async def _lines_of(file: BinaryIO) -> AsyncIterator[list[Line[StatedLine]]]:
    """JSON begins with a brace, and no header of CSV does."""
    head = file.read(_CHUNK_BYTES)

    async def chunks() -> AsyncIterator[bytes]:
        chunk = head
        while chunk:
            yield chunk
            chunk = file.read(_CHUNK_BYTES)

    is_json = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return await STATED.ndjson(chunks()) if is_json else await STATED.csv(chunks(), None)
