"""Accounts and their entries: the rules of credits and debits."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from shared.errors import Conflict, Malformed, NotFound, Refusal

#: The largest number that JSON carries exactly everywhere (2^53 - 1), and the largest operation and balance.
MAX_POINTS = 9_007_199_254_740_991


class Kind(StrEnum):
    """The kind of an entry: what changed the total of an account."""

    CREDIT = "credit"
    DEBIT = "debit"
    REDEMPTION = "redemption"
    REFUND = "refund"
    LAPSE = "lapse"


class InvalidUser(NotFound):
    code = "invalid_user"


class AccountNotFound(InvalidUser):
    """For the platform, which knows accounts; vendors know users."""

    code = "account_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such account.")


class InsufficientPoints(Malformed):
    """A refusal with status 400, as the source document says."""

    code = "insufficient_points"


class ReferenceMismatch(Conflict):
    code = "reference_mismatch"


class AccountClosed(Conflict):
    code = "account_closed"

    def __init__(self) -> None:
        super().__init__("The account is closed for good.")


class BalanceLimit(Conflict):
    code = "balance_limit_exceeded"


class Account(NamedTuple):
    """`available` points may be spent, `held` ones are set aside for vendors; the entries add up to both."""

    tenant: str
    user_id: str
    available: int = 0
    held: int = 0
    entries: int = 0
    closed_at: datetime | None = None

    @property
    def total(self) -> int:
        return self.available + self.held

    def with_more(self, *, available: int = 0, held: int = 0, entries: int = 0) -> "Account":
        """The account after adding both numbers, which may be negative."""
        return Account(
            self.tenant,
            self.user_id,
            self.available + available,
            self.held + held,
            self.entries + entries,
            self.closed_at,
        )


class Entry(NamedTuple):
    """A line of a statement; never changed, never deleted."""

    tenant: str
    user_id: str
    number: int
    kind: Kind
    points: int
    balance: int
    source: str
    reference: str
    reason: str
    created_at: datetime
    client_id: str | None = None
    subject: str | None = None
    request_id: str | None = None


class Post(NamedTuple):
    """The platform credits (`points` > 0) or debits (`points` < 0) an account."""

    tenant: str
    user_id: str
    points: int
    reference: str
    reason: str

    @property
    def kind(self) -> Kind:
        return Kind.CREDIT if self.points > 0 else Kind.DEBIT

    @property
    def source(self) -> str:
        return ""


class Close(NamedTuple):
    """The platform closes an account for good."""

    tenant: str
    user_id: str
    reason: str


def lapse(account: Account, reason: str, now: datetime) -> tuple[Account, Entry] | None:
    """What is available in a closed account lapses; None where nothing does."""
    if account.closed_at is None or not account.available:
        return None
    points = -account.available
    number = str(account.entries + 1)
    return enter(account, Kind.LAPSE, points, "", number, reason, now, available=points)


def decide_post(command: Post, account: Account, now: datetime) -> tuple[Account, Entry] | Refusal:
    """The account after the credit or debit with its entry, or the refusal."""
    if account.available + command.points < 0:
        return InsufficientPoints("insufficient points")
    if account.total + command.points > MAX_POINTS:
        return BalanceLimit("The account cannot take that many points.")
    points = command.points
    return enter(
        account, command.kind, points, command.source, command.reference, command.reason, now, available=points
    )


def enter(
    account: Account,
    kind: Kind,
    points: int,
    source: str,
    reference: str,
    reason: str,
    now: datetime,
    *,
    available: int,
    held: int = 0,
) -> tuple[Account, Entry]:
    """The account after an entry, and the entry, whose balance is the account's total.

    Args:
        available: what the entry adds to the points that are available.
        held: what it adds to those that are held.
    """
    account = account.with_more(available=available, held=held, entries=1)
    entry = Entry(
        account.tenant, account.user_id, account.entries, kind, points, account.total, source, reference, reason, now
    )
    return account, entry
