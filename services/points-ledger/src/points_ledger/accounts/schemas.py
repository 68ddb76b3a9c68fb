"""Bodies between the platform's back ends and the ledger."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier, PlainText
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp, iso

from points_ledger.accounts.queries import Balance
from points_ledger.domain.accounts import MAX_POINTS, Entry


class PostBody(BaseModel):
    """A credit or a debit. A `reference` can be used once for each account and kind."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"points": 500, "reference": "order-4711", "reason": "Purchase"}]},
    )

    points: Annotated[int, Field(strict=True, gt=0, le=MAX_POINTS)]
    reference: Identifier
    reason: PlainText


class BalanceBody(BaseModel):
    """`total` = `available` + `held`."""

    user_id: str
    available: int
    held: int
    total: int
    as_of: Timestamp

    @classmethod
    def of(cls, balance: Balance) -> "BalanceBody":
        account = balance.account
        return cls(
            user_id=account.user_id,
            available=account.available,
            held=account.held,
            total=account.total,
            as_of=balance.as_of,
        )


class EntryBody(BaseModel):
    """A line of a statement; `points` are signed, `balance` is the total after it."""

    user_id: str
    number: int
    kind: str
    points: int
    balance: int
    vendor_id: str | None
    reference: str
    reason: str
    created_at: Timestamp


class StatementQuery(BaseModel):
    """A page of a statement."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: int = Field(50, ge=1, le=500)


class StatementBody(BaseModel):
    """Newest first. `next_cursor` leads to the next page and is null on the last one."""

    entries: list[EntryBody]
    next_cursor: NextCursor


def entry_body(entry: Entry) -> dict[str, Any]:
    return {
        "user_id": entry.user_id,
        "number": entry.number,
        "kind": entry.kind.value,
        "points": entry.points,
        "balance": entry.balance,
        "vendor_id": entry.source or None,
        # A refund's reference joins transaction id and refund id by a character that neither can contain.
        "reference": entry.reference.replace("\x1f", "/"),
        "reason": entry.reason,
        "created_at": iso(entry.created_at),
    }
