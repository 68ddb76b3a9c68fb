"""What waits in the ledger's line: a command, what makes its answer, and the rows that it concerns."""

from collections.abc import Callable
from typing import NamedTuple

from shared.callers import Caller
from shared.errors import Refusal, Unavailable
from shared.idempotency import Answer, RequestKey
from shared.request_frame import current_request

from points_ledger.domain.accounts import Account, Close, Entry, Post
from points_ledger.domain.decisions import Command
from points_ledger.domain.transactions import Commit, Refund, Transaction
from points_ledger.store import AccountKey, AnswerKey, EntryKey, HoldsKey, TransactionKey

Outcome = Transaction | Entry | Account | Refusal


class Settled(NamedTuple):
    """What became of a command."""

    outcome: Outcome
    #: Whether it tells of an earlier outcome again.
    repeated: bool
    #: The account that the command named, as it is after it; None where there is none.
    account: Account | None


#: Turns what was decided into what goes over the wire.
Shape = Callable[[Settled], Answer]


class LostRace(Unavailable):
    """Another process inserted the same row first. A retry finds it."""


class NotSettled(Unavailable):
    """More holds have expired in the account than a batch may release, and the command depends on them.

    Args:
        are_too_many: no command of the account can be decided before.
    """

    def __init__(self, *, are_too_many: bool, log: str) -> None:
        super().__init__(log=log)
        self.are_too_many = are_too_many


class Order(NamedTuple):
    """A command, the function that makes its answer, and its idempotency key."""

    command: Command
    shape: Shape
    client_id: str = ""
    key: RequestKey | None = None
    subject: str | None = None
    request_id: str | None = None

    @classmethod
    def by(cls, caller: Caller, command: Command, shape: Shape, key: RequestKey | None = None) -> "Order":
        """What a caller asks for with the present request."""
        request = current_request.get()
        request_id = None if request is None else request.request_id
        return cls(command, shape, caller.client_id, key, caller.subject, request_id)


class Rows(NamedTuple):
    """The keys of the rows that an order concerns."""

    account: AccountKey
    transaction: TransactionKey | None
    entry: EntryKey | None
    answer: AnswerKey | None


def rows_of(order: Order) -> Rows:
    command, transaction, entry, answer = order.command, None, None, None
    if not isinstance(command, (Post, Close)):
        transaction = TransactionKey(command.tenant, command.vendor_id, command.transaction_id)
    if isinstance(command, (Post, Refund)):
        entry = EntryKey(command.tenant, command.user_id, command.kind.value, command.source, command.reference)
    if order.key is not None:
        answer = AnswerKey(command.tenant, order.client_id, order.key.key)
    return Rows(AccountKey(command.tenant, command.user_id), transaction, entry, answer)


def holds_of(order: Order) -> HoldsKey | None:
    command = order.command
    return HoldsKey(command.tenant, command.user_id, command.vendor_id) if isinstance(command, Commit) else None
