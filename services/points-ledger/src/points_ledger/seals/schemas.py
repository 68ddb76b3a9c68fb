"""Seals over the wire."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from shared.paging import Cursor, NextCursor, Page
from shared.seals.store import ListedSeal
from shared.times import Timestamp


class SealsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: int = Field(50, ge=1, le=500)


class SealedEntry(BaseModel):
    """An entry by the account and its number there, as in a statement."""

    user_id: str
    number: int
    created_at: Timestamp


class SealBody(BaseModel):
    """A link of the chain; hashes are SHA-256 in hexadecimal."""

    number: Annotated[int, Field(description="1, 2, 3 … without gaps.")]
    entries: Annotated[int, Field(description="How many it covers.")]
    first_entry: SealedEntry
    last_entry: SealedEntry
    previous: Annotated[str | None, Field(description="The hash of the seal before; null in the first.")]
    hash: Annotated[str, Field(description="Keep it outside of the ledger: `verify --head` compares.")]
    sealed_at: Timestamp

    @classmethod
    def of(cls, seal: ListedSeal) -> "SealBody":
        first_user, first_number = seal.first_key
        last_user, last_number = seal.last_key
        return cls(
            number=seal.number,
            entries=seal.rows,
            first_entry=SealedEntry(user_id=first_user, number=first_number, created_at=seal.first_at),
            last_entry=SealedEntry(user_id=last_user, number=last_number, created_at=seal.last_at),
            previous=None if seal.previous is None else seal.previous.hex(),
            hash=seal.hash.hex(),
            sealed_at=seal.sealed_at,
        )


class SealsBody(BaseModel):
    """Newest first."""

    seals: list[SealBody]
    next_cursor: NextCursor

    @classmethod
    def of(cls, page: Page[ListedSeal]) -> "SealsBody":
        return cls(seals=[SealBody.of(seal) for seal in page.items], next_cursor=page.next_cursor)
