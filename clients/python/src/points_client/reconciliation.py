"""Once a day: your books against the platform's, in one request however long they are."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from points_client.exchanges import Exchange, Pause, Request, Unanswered, granted

#: The platform may think for a while behind the last line.
_TIMEOUT_SECONDS: Final = 120.0
_IN_MEMORY_BYTES: Final = 1_048_576
_BROKEN_OFF_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What your books say of a transaction.

    Args:
        state: `confirmed`, `rolled_back`, `expired`, `rejected`, `held`, `cancelled`.
        points: those deducted, of a held one those held, else 0; refunds do not count.
    """

    order_id: str
    state: str
    points: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Where the books differ.

    Args:
        findings: one for each difference: `finding`, `transactionid`, and what either side says (`yours`, `ours`).
        summary: how many of each kind there are.
    """

    findings: list[dict[str, Any]]
    summary: dict[str, Any]


def reconcile(
    books: Iterable[Entry], *, since: str | None = None, until: str | None = None, attempts: int = 3
) -> Exchange[Reconciliation]:
    """Compares your books with the platform's. Nothing is changed, so it may be repeated at any time.

    Args:
        books: read once, into a file: a million entries need no memory.
        since, until: ISO 8601 with a zone; what you left out is looked for in this range, by default the last 31 days.

    Raises:
        Refused: such as `too_many_reports`.
        Unanswered: no whole answer came.
    """
    range_ = {name: value for name, value in (("since", since), ("until", until)) if value is not None}
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as lines:
        for entry in books:
            line = {"transactionid": entry.order_id, "state": entry.state, "points": entry.points}
            lines.write(json.dumps(line).encode() + b"\n")
        request = Request(
            "POST",
            f"/eai/v1/reconciliations?{urlencode(range_)}",
            headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
            lines=lines,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
        for attempt in range(1, attempts + 1):
            answer = yield from granted(request)
            found = _read(answer.content)
            if found is not None:
                return found
            if attempt < attempts:
                yield Pause(_BROKEN_OFF_PAUSE_SECONDS)
    raise Unanswered("The answer broke off before its summary, again and again.")


def _read(content: bytes) -> Reconciliation | None:
    """None for an answer without its last line."""
    try:
        said = [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return None
    if not said or "summary" not in said[-1]:
        return None
    return Reconciliation(said[:-1], said[-1]["summary"])
