"""What goes over the wire between the platform and the ledger."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier, PlainText
from shared.times import Timestamp, iso

from points_ledger.domain.accounts import MAX_POINTS, Entry
from points_ledger.queries import Balance


class PostBody(BaseModel):
    """A credit or a debit; `reference` makes it unrepeatable within the account and the kind."""

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


class HoldTimeBody(BaseModel):
    """How long a vendor's holds last: 1 s to 7 days."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"hold_seconds": 900}]})

    hold_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]


class EntryBody(BaseModel):
    """A line of a statement; `points` signed, `balance` the total after it."""

    user_id: str
    number: int
    kind: str
    points: int
    balance: int
    reference: str
    reason: str
    created_at: Timestamp


def entry_body(entry: Entry) -> dict[str, Any]:
    return {
        "user_id": entry.user_id,
        "number": entry.number,
        "kind": entry.kind.value,
        "points": entry.points,
        "balance": entry.balance,
        "reference": entry.reference,
        "reason": entry.reason,
        "created_at": iso(entry.created_at),
    }
