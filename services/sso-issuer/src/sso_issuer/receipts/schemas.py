"""Receipts over internal HTTP: what the ledger may have signed, and nothing else."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from shared.identifiers import Identifier
from shared.times import Instant, iso

#: The greatest number that every JSON reader takes as it is.
_MOST = 2**53 - 1
_Points = Annotated[int, Field(strict=True, ge=0, le=_MOST)]


class FactsBody(BaseModel):
    """How a transaction ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor_id: Identifier
    transactionid: Identifier
    userid: Identifier
    state: Literal["confirmed", "rolled_back", "expired"]
    points_held: Annotated[int, Field(strict=True, ge=1, le=_MOST)]
    points_deducted: _Points
    points_refunded: _Points
    created_at: Instant
    ended_at: Instant

    @model_validator(mode="after")
    def _can_be_so(self) -> Self:
        least = 1 if self.state == "confirmed" else 0
        most = self.points_held if self.state == "confirmed" else 0
        if not least <= self.points_deducted <= most or self.points_refunded > self.points_deducted:
            raise ValueError("no transaction ends with these points")
        if self.ended_at < self.created_at:
            raise ValueError("no transaction ends before it begins")
        return self

    def facts(self) -> dict[str, Any]:
        """As a receipt says them."""
        times = {"created_at": iso(self.created_at), "ended_at": iso(self.ended_at)}
        return self.model_dump(exclude={"created_at", "ended_at"}) | times


class SignedReceiptBody(BaseModel):
    receipt: str
