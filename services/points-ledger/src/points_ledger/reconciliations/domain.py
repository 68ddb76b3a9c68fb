"""What two sides say of a transaction, and how they differ."""

from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from shared.identifiers import Identifier

from points_ledger.domain.accounts import MAX_POINTS
from points_ledger.domain.transactions import State


class Kind(StrEnum):
    """The kinds of findings, in the order of the summary."""

    ONLY_YOURS = "only_yours"
    ONLY_OURS = "only_ours"
    STATE_DIFFERS = "state_differs"
    POINTS_DIFFER = "points_differ"
    STILL_HELD = "still_held"
    MALFORMED = "malformed"


class StatedLine(BaseModel):
    """A line of a vendor's list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transactionid: Identifier = Field(validation_alias=AliasChoices("transactionid", "transactionId"))
    state: State
    points: Annotated[int, Field(strict=True, ge=0, le=MAX_POINTS)]


class Stand(NamedTuple):
    """Where a transaction stands in the books of one side.

    `points`: those deducted of a confirmed one, those held of a held one, else 0.
    """

    state: State
    points: int

    @classmethod
    def ours(cls, state: State, points: int, deducted: int) -> "Stand":
        """From a row, as it is at this moment."""
        if state is State.CONFIRMED:
            return cls(state, deducted)
        return cls(state, points if state is State.HELD else 0)


class Finding(NamedTuple):
    """A difference, or a line that says nothing.

    Attributes:
        line, detail: of a malformed line.
    """

    kind: Kind
    transaction_id: str | None = None
    yours: Stand | None = None
    ours: Stand | None = None
    line: int | None = None
    detail: str | None = None


class Summary(NamedTuple):
    """The end of a reconciliation that went through.

    Attributes:
        yours: lines of the vendor's list that are not empty.
        ours: transactions of the ledger that the list names, or that were created in the range.
        found: how many findings of each kind. `ONLY_OURS` is missing where the list was not read to its end.
    """

    yours: int
    ours: int
    agreed: int
    found: dict[Kind, int]


def judge(yours: Stand, ours: Stand | None) -> Kind | None:
    """How two sides differ; None if they agree.

    A transaction that is still held is always a finding: neither side can close its books over it.
    """
    if ours is None:
        return Kind.ONLY_YOURS
    if ours.state is State.HELD:
        return Kind.STILL_HELD
    if yours.state is not ours.state:
        return Kind.STATE_DIFFERS
    return None if yours.points == ours.points else Kind.POINTS_DIFFER
