"""Bodies between the platform's back ends and the ledger."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier, PlainText
from shared.paging import Cursor, NextCursor, Page
from shared.times import Instant, Timestamp, iso

from points_ledger.accounts.queries import Balance
from points_ledger.domain.accounts import MAX_POINTS, Entry, Kind

#: Kinds of the entries that transactions make.
_OF_TRANSACTIONS: Final = frozenset({Kind.REDEMPTION, Kind.REFUND})


class PostBody(BaseModel):
    """A credit or a debit. A `reference` can be used once for each account and kind."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"points": 500, "reference": "order-4711", "reason": "Purchase"}]},
    )

    points: Annotated[int, Field(strict=True, gt=0, le=MAX_POINTS)]
    reference: Identifier
    reason: Annotated[PlainText, Field(description="Shown in statements and kept for good: no personal data.")]


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


def balance_body(balance: Balance) -> dict[str, Any]:
    """What `BalanceBody` describes; a model takes longer to fill than the row to read."""
    account = balance.account
    return {
        "user_id": account.user_id,
        "available": account.available,
        "held": account.held,
        "total": account.total,
        "as_of": iso(balance.as_of),
    }


class UsersBody(BaseModel):
    """The users whose balances another service asks for."""

    model_config = ConfigDict(extra="forbid")

    user_ids: Annotated[list[Identifier], Field(min_length=1, max_length=256)]


class BalancesBody(BaseModel):
    balances: list[BalanceBody]
    absent: list[str]


class EntryBody(BaseModel):
    """A line of a statement; `points` are signed, `balance` is the total after it."""

    user_id: str
    number: int
    kind: str
    points: int
    balance: int
    vendor_id: str | None
    reference: str
    transactionid: Annotated[str | None, Field(description="Of a redemption or a refund.")]
    refundid: str | None
    reason: str
    created_at: Timestamp
    client_id: Annotated[str | None, Field(description="Who made it; null where nobody asked for it, or long ago.")]
    subject: Annotated[str | None, Field(description="The designated user in whose name it was made.")]
    request_id: str | None


class ClosedAccountBody(BaseModel):
    """`closing` as long as holds are open; what they give back lapses as well."""

    user_id: str
    state: Literal["closing", "closed"]
    lapsed: Annotated[int, Field(description="Points that have lapsed so far.")]


class CloseQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Annotated[
        PlainText,
        Field(min_length=1, description="Stands in the entry of what lapses, and is kept for good: no personal data."),
    ]


class StatementQuery(BaseModel):
    """A page of a statement."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: int = Field(50, ge=1, le=500)


class StatementBody(BaseModel):
    """Newest first. `next_cursor` leads to the next page and is null on the last one."""

    entries: list[EntryBody]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: Page[Entry]) -> "StatementBody":
        bodies = [EntryBody.model_validate(entry_body(entry)) for entry in page.items]
        return cls(entries=bodies, next_cursor=page.next_cursor)


class ImportQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    open_accounts: Annotated[bool, Field(description="Open accounts that are missing.")] = False
    dry_run: Annotated[bool, Field(description="Change nothing; answer each line as it would be answered.")] = False


class BalanceQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    at: Annotated[
        Instant | None,
        Field(description="A past instant, with its zone. In a query, `+` is `%2B`: 2026-12-01T08:00:00%2B01:00"),
    ] = None


def entry_body(entry: Entry) -> dict[str, Any]:
    """As `EntryBody`."""
    # A refund's reference joins transaction id and refund id by a character that neither can contain.
    transaction_id, _, refund_id = entry.reference.partition("\x1f")
    is_of_transaction = entry.kind in _OF_TRANSACTIONS
    return {
        "user_id": entry.user_id,
        "number": entry.number,
        "kind": entry.kind.value,
        "points": entry.points,
        "balance": entry.balance,
        "vendor_id": entry.source or None,
        "reference": entry.reference.replace("\x1f", "/"),
        "transactionid": transaction_id if is_of_transaction else None,
        "refundid": refund_id or None,
        "reason": entry.reason,
        "created_at": iso(entry.created_at),
        "client_id": entry.client_id,
        "subject": entry.subject,
        "request_id": entry.request_id,
    }
