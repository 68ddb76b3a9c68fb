"""Bodies about open holds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from shared.identifiers import Identifier
from shared.paging import Cursor, NextCursor, Page
from shared.times import Timestamp

from points_ledger.holds.queries import Hold


class HoldsQuery(BaseModel):
    """Whose open holds, and from which age on."""

    model_config = ConfigDict(extra="forbid")

    user_id: Identifier | None = None
    vendor_id: Identifier | None = None
    older_than: Annotated[int | None, Field(ge=0, le=604_800, description="Seconds.")] = None
    cursor: Cursor = None
    limit: int = Field(100, ge=1, le=1000)


class HoldBody(BaseModel):
    vendor_id: str
    transactionid: str
    user_id: str
    points: int
    created_at: Timestamp
    expires_at: Timestamp


class HoldsBody(BaseModel):
    """Oldest first."""

    holds: list[HoldBody]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: Page[Hold]) -> "HoldsBody":
        holds = [HoldBody.model_validate(hold, from_attributes=True) for hold in page.items]
        return cls(holds=holds, next_cursor=page.next_cursor)
