"""Findings over the wire."""

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field
from shared.times import Instant

from points_ledger.reconciliations.domain import Finding, Kind, Stand, Summary


class RangeQuery(BaseModel):
    """In which part of its own list the ledger looks for transactions that the vendor's list lacks."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[
        Instant | None, Field(description="Created from then on; by default 31 days before `until`. `+` is `%2B` here.")
    ] = None
    until: Annotated[Instant | None, Field(description="Created before then; by default, and at most, until now.")] = (
        None
    )


#: The stream as OpenAPI shows it: what a line may be, and an example of the whole.
STREAM: dict[str, Any] = {
    "schema": {
        "type": "string",
        "description": "A line for each difference: `{finding, transactionid, yours?, ours?}`, of a malformed line "
        "`{finding, transactionid?, line, detail}`; `yours` and `ours` are `{state, points}`. The last line is "
        "`{summary}`; without it, the stream broke off.",
    },
    "example": "\n".join(
        (
            '{"finding":"state_differs","transactionid":"order-2","yours":{"state":"confirmed","points":40},'
            '"ours":{"state":"expired","points":0}}',
            '{"finding":"malformed","line":7,"detail":"points: Input should be a valid integer"}',
            '{"finding":"only_ours","transactionid":"order-9","ours":{"state":"held","points":5}}',
            '{"summary":{"yours":1207,"ours":1207,"agreed":1205,"only_yours":0,"only_ours":1,"state_differs":1,'
            '"points_differ":0,"still_held":0,"malformed":1}}',
            "",
        )
    ),
}


def finding_line(finding: Finding) -> bytes:
    """A line of the stream. What there is nothing to say of is left out."""
    body: dict[str, Any] = {
        "finding": finding.kind,
        "transactionid": finding.transaction_id,
        "yours": _stand(finding.yours),
        "ours": _stand(finding.ours),
        "line": finding.line,
        "detail": finding.detail,
    }
    said = {name: value for name, value in body.items() if value is not None}
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)


def summary_line(summary: Summary) -> bytes:
    """The last line of the stream. `only_ours` is null where the list was not read to its end."""
    body = {"yours": summary.yours, "ours": summary.ours, "agreed": summary.agreed} | {
        kind.value: summary.found.get(kind) for kind in Kind
    }
    return orjson.dumps({"summary": body}, option=orjson.OPT_APPEND_NEWLINE)


def _stand(stand: Stand | None) -> dict[str, Any] | None:
    return None if stand is None else {"state": stand.state, "points": stand.points}
