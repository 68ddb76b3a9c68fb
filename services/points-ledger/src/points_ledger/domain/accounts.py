"""Accounts and the entries that add up to them: what the platform's credits and debits do."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from shared.errors import Conflict, Malformed, NotFound, Refusal

#: What JSON numbers carry without loss everywhere (2^53 - 1); no operation and no balance goes beyond.
MAX_POINTS = 9_007_199_254_740_991


class Kind(StrEnum):
    """Of an entry: what changed the total of an account."""

    CREDIT = "credit"
    DEBIT = "debit"
    REDEMPTION = "redemption"
    REFUND = "refund"


class InvalidUser(NotFound):
    code = "invalid_user"


class InsufficientPoints(Malformed):
    """400, as the source document has it."""

    code = "insufficient_points"


class ReferenceMismatch(Conflict):
    code = "reference_mismatch"


class BalanceLimit(Conflict):
    code = "balance_limit_exceeded"


class Account(NamedTuple):
    """`available` may be spent, `held` is promised to vendors; their sum is what the entries add up to."""

    tenant: str
    user_id: str
    available: int = 0
    held: int = 0
    entries: int = 0

    @property
    def total(self) -> int:
        return self.available + self.held

    def with_more(self, *, available: int = 0, held: int = 0, entries: int = 0) -> "Account":
        """The same with so many more of each, or fewer where they are negative."""
        return Account(self.tenant, self.user_id, self.available + available, self.held + held, self.entries + entries)


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


class Expire(NamedTuple):
    """Nothing but a look at the account: what has run out there is released."""

    tenant: str
    user_id: str


def decide_post(command: Post, account: Account, now: datetime) -> tuple[Account, Entry] | Refusal:
    """The account with the credit or debit in it, or why not."""
    if account.available + command.points < 0:
        return InsufficientPoints("insufficient points")
    if account.total + command.points > MAX_POINTS:
        return BalanceLimit("The account cannot take that many points.")
    account = account.with_more(available=command.points)
    return enter(account, command.kind, command.points, command.source, command.reference, command.reason, now)


def enter(
    account: Account, kind: Kind, points: int, source: str, reference: str, reason: str, now: datetime
) -> tuple[Account, Entry]:
    """The account with one entry more; its balance is the account's total with the change already in it."""
    account = account.with_more(entries=1)
    entry = Entry(
        account.tenant, account.user_id, account.entries, kind, points, account.total, source, reference, reason, now
    )
    return account, entry
