"""A vendor's transaction: its states, commands and refusals."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from shared.errors import Conflict, NotFound

from points_ledger.domain.accounts import Account, Kind


class State(StrEnum):
    """The state of a vendor's transaction. Only `held` can change."""

    HELD = "held"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class TransactionNotFound(NotFound):
    code = "transaction_not_found"


class TransactionMismatch(Conflict):
    code = "transaction_mismatch"


class PointsAlreadyDeducted(Conflict):
    code = "points_already_deducted"


class TransactionRolledBack(Conflict):
    code = "transaction_rolled_back"


class HoldExpired(Conflict):
    code = "hold_expired"


class TransactionRejected(Conflict):
    code = "transaction_rejected"


class NoPointsToRollBack(Conflict):
    code = "no_points_to_roll_back"


class NotConfirmed(Conflict):
    code = "transaction_not_confirmed"


class TooManyOpenHolds(Conflict):
    code = "too_many_open_holds"


class RefundTooLarge(Conflict):
    code = "refund_exceeds_deduction"


class Transaction(NamedTuple):
    """One redemption at one vendor. The state decides whether `expires_at` and `ended_at` are set."""

    tenant: str
    vendor_id: str
    transaction_id: str
    user_id: str
    state: State
    points: int
    deducted: int
    refunded: int
    description: str
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None

    def as_of(self, now: datetime) -> "Transaction":
        """The transaction at `now`: expired if its hold has ended, whether or not a row says so yet."""
        if self.state is State.HELD and self.expires_at is not None and self.expires_at <= now:
            return self._replace(state=State.EXPIRED, ended_at=self.expires_at)
        return self


class Commit(NamedTuple):
    """Phase 1: hold points."""

    tenant: str
    vendor_id: str
    transaction_id: str
    user_id: str
    points: int
    description: str
    #: How long; the use case says how long this vendor's holds last.
    hold: timedelta = timedelta(minutes=15)
    #: So many holds the vendor may have open in one account; the use case says how many.
    max_open_holds: int = 10_000
    #: Refused as if there were too few points, however many there are: for a user of a sandbox.
    is_refused: bool = False


class Confirm(NamedTuple):
    """Phase 2: deduct all held points, or only `points` of them and release the rest."""

    tenant: str
    vendor_id: str
    transaction_id: str
    user_id: str
    points: int | None = None


class Rollback(NamedTuple):
    """Phase 2: release the held points."""

    tenant: str
    vendor_id: str
    transaction_id: str
    user_id: str


class Refund(NamedTuple):
    """After a confirm: give points back."""

    tenant: str
    vendor_id: str
    transaction_id: str
    user_id: str
    refund_id: str
    points: int

    @property
    def kind(self) -> Kind:
        return Kind.REFUND

    @property
    def source(self) -> str:
        return self.vendor_id

    @property
    def reference(self) -> str:
        # A transaction id contains no control character, so different pairs give different texts.
        return f"{self.transaction_id}\x1f{self.refund_id}"


TransactionCommand = Commit | Confirm | Rollback | Refund


def release_expired(account: Account, hold: Transaction, now: datetime) -> tuple[Account, Transaction]:
    """Returns the points of an expired hold to its account. If the hold is not expired, both stay unchanged."""
    seen = hold.as_of(now)
    if hold.state is not State.HELD or seen.state is State.HELD:
        return account, hold
    return account.with_more(available=hold.points, held=-hold.points), seen
