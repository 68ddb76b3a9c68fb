"""The audit as CSV."""

from collections.abc import AsyncIterator
from typing import Final

import orjson
from shared.spreadsheets import as_words, csv_lines
from shared.times import iso
from starlette.responses import Response, StreamingResponse

from partner_onboarding.register.audit.domain import Entry, Filter
from partner_onboarding.register.audit.service import Audit

_COLUMNS: Final = (
    *("entry_id", "recorded_at", "actor_kind", "actor", "action", "subject", "origin", "request_id", "details"),
)


async def csv_of(audit: Audit, tenant: str, wanted: Filter) -> Response:
    """All entries that the filter lets through, newest first; `details` as JSON."""
    parts = audit.export(tenant, wanted)
    # What can fail before the first line fails now: an answer that has begun cannot say so any more.
    first = await anext(parts)

    async def lines() -> AsyncIterator[str]:
        yield csv_lines([_COLUMNS, *map(_cells, first)])
        async for entries in parts:
            yield csv_lines(map(_cells, entries))

    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingResponse(lines(), headers=headers, media_type="text/csv; charset=utf-8")


def _cells(entry: Entry) -> tuple[object, ...]:
    words = (entry.actor.name, entry.action, entry.subject, entry.origin or "", entry.request_id or "")
    details = orjson.dumps(dict(entry.details)).decode() if entry.details else ""
    return (entry.entry_id, iso(entry.recorded_at), entry.actor.kind, *map(as_words, words), details)
