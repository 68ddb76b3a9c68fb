"""A vendor's transaction: its states, what may be asked of it, and why that may be refused."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from shared.errors import Conflict, NotFound

from points_ledger.domain.accounts import Account, Kind


class State(StrEnum):
    """Of a vendor's transaction. Only `held` ever changes."""

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


class RefundTooLarge(Conflict):
    code = "refund_exceeds_deduction"


class Transaction(NamedTuple):
    """One redemption at one vendor. `expires_at` and `ended_at` as the state has them."""

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
        """The same, expired if its time has run out: whether or not anybody has written that down yet."""
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
    hold: timedelta


class Confirm(NamedTuple):
    """Phase 2: deduct what is held, or `points` of it and release the rest."""

    tenant: str
    vendor_id: str
    transaction_id: str
    user_id: str
    points: int | None = None


class Rollback(NamedTuple):
    """Phase 2: release what is held."""

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
        # A transaction id cannot hold a control character, so no two pairs read alike.
        return f"{self.transaction_id}\x1f{self.refund_id}"


TransactionCommand = Commit | Confirm | Rollback | Refund


def release_expired(account: Account, hold: Transaction, now: datetime) -> tuple[Account, Transaction]:
    """Gives the points of a hold that has run out back to its account; both unchanged if it has not."""
    seen = hold.as_of(now)
    if hold.state is not State.HELD or seen.state is State.HELD:
        return account, hold
    return account.with_more(available=hold.points, held=-hold.points), seen
