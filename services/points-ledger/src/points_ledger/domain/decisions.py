"""The rules of points: pure decisions on rows that were read under lock. No I/O and no clock.

The state machine comes from the integration document for rewards vendors (two-phase commit with rollback) and the state
table of the contract. Every cell of that table is one line in `_decide_commit`, `_decide_confirm`, `_decide_rollback`
or `_decide_refund`.
"""

from datetime import datetime
from typing import Any, NamedTuple, assert_never

from shared.errors import Refusal

from points_ledger.domain.accounts import (
    MAX_POINTS,
    Account,
    AccountClosed,
    AccountNotFound,
    BalanceLimit,
    Close,
    Entry,
    InsufficientPoints,
    InvalidUser,
    Kind,
    Post,
    ReferenceMismatch,
    decide_post,
    enter,
)
from points_ledger.domain.transactions import (
    Commit,
    Confirm,
    HoldExpired,
    NoPointsToRollBack,
    NotConfirmed,
    PointsAlreadyDeducted,
    Refund,
    RefundTooLarge,
    Rollback,
    State,
    TooManyOpenHolds,
    Transaction,
    TransactionCommand,
    TransactionMismatch,
    TransactionNotFound,
    TransactionRejected,
    TransactionRolledBack,
)

Command = TransactionCommand | Post | Close


class Found(NamedTuple):
    """The rows that a command is decided on, read under the account's lock, with expired holds released."""

    account: Account | None
    transaction: Transaction | None = None
    entry: Entry | None = None
    #: Open holds of the vendor in the account; None where they are certainly fewer than the command allows.
    open_holds: int | None = None


class Decision(NamedTuple):
    """The outcome for the caller, and the new rows; None means unchanged."""

    outcome: Transaction | Entry | Account | Refusal
    account: Account | None = None
    transaction: Transaction | None = None
    entry: Entry | None = None
    #: Whether the outcome repeats an earlier one.
    repeated: bool = False


def decide(command: Command, found: Found, now: datetime) -> Decision:
    """Decides one command. The caller must have released the account's expired holds."""
    match command:
        case Commit():
            return _decide_commit(command, found, now)
        case Confirm():
            return _decide_confirm(command, found, now)
        case Rollback():
            return _decide_rollback(command, found, now)
        case Refund():
            return _decide_refund(command, found, now)
        case Post():
            return _decide_post(command, found, now)
        case Close():
            return _decide_close(found, now)
        case _:
            assert_never(command)


def _decide_commit(command: Commit, found: Found, now: datetime) -> Decision:
    transaction, account = found.transaction, found.account
    if transaction is None:
        if account is None or account.closed_at is not None:
            return Decision(InvalidUser("There is no such user.", **_names(command)))
        if found.open_holds is not None and found.open_holds >= command.max_open_holds:
            return Decision(
                TooManyOpenHolds("too many points of this user are held in open transactions", **_names(command))
            )
        return _hold(command, account, now)
    match transaction.state:
        case State.HELD:
            if transaction.user_id != command.user_id:
                return Decision(_mismatch(transaction, "userid"))
            if transaction.points != command.points:
                return Decision(_mismatch(transaction, "pointstodeduct"))
            return Decision(transaction, repeated=True)
        case State.CONFIRMED:
            return Decision(PointsAlreadyDeducted("points already deducted", **_present(transaction)))
        case State.EXPIRED:
            return Decision(HoldExpired("the hold of this transaction has expired", **_present(transaction)))
        case State.REJECTED:
            # Final, even after a top-up: a late duplicate must never hold points after the shop said no.
            return Decision(InsufficientPoints("insufficient points", **_present(transaction)))
        case State.ROLLED_BACK | State.CANCELLED:
            return Decision(TransactionRolledBack("the transaction was rolled back", **_present(transaction)))
        case _:
            assert_never(transaction.state)


def _hold(command: Commit, account: Account, now: datetime) -> Decision:
    enough = command.points <= account.available and not command.is_refused
    transaction = Transaction(
        tenant=command.tenant,
        vendor_id=command.vendor_id,
        transaction_id=command.transaction_id,
        user_id=command.user_id,
        state=State.HELD if enough else State.REJECTED,
        points=command.points,
        deducted=0,
        refunded=0,
        description=command.description,
        created_at=now,
        expires_at=now + command.hold if enough else None,
        ended_at=None if enough else now,
    )
    if not enough:
        refusal = InsufficientPoints("insufficient points", **_present(transaction))
        return Decision(refusal, transaction=transaction)
    account = account.with_more(available=-command.points, held=command.points)
    return Decision(transaction, account, transaction)


def _decide_confirm(command: Confirm, found: Found, now: datetime) -> Decision:
    transaction = found.transaction
    if transaction is None or transaction.state is State.CANCELLED:
        return Decision(_missing(command) if transaction is None else _rolled_back(transaction))
    if transaction.user_id != command.user_id:
        return Decision(_mismatch(transaction, "userid"))
    match transaction.state:
        case State.HELD:
            return _deduct(command, transaction, found.account, now)
        case State.CONFIRMED:
            return Decision(PointsAlreadyDeducted("points already deducted", **_present(transaction)))
        case State.ROLLED_BACK:
            return Decision(_rolled_back(transaction))
        case State.EXPIRED:
            return Decision(HoldExpired("the hold of this transaction has expired", **_present(transaction)))
        case State.REJECTED:
            return Decision(TransactionRejected("the transaction was rejected", **_present(transaction)))
        case _:
            assert_never(transaction.state)


def _deduct(command: Confirm, transaction: Transaction, account: Account | None, now: datetime) -> Decision:
    points = transaction.points if command.points is None else command.points
    if points > transaction.points:
        return Decision(_mismatch(transaction, "pointstodeduct"))
    account, entry = enter(
        _owner(account),
        Kind.REDEMPTION,
        -points,
        transaction.vendor_id,
        transaction.transaction_id,
        transaction.description,
        now,
        available=transaction.points - points,
        held=-transaction.points,
    )
    transaction = transaction._replace(state=State.CONFIRMED, deducted=points, ended_at=now)
    return Decision(transaction, account, transaction, entry)


def _decide_rollback(command: Rollback, found: Found, now: datetime) -> Decision:
    transaction = found.transaction
    if transaction is None:
        # The id is remembered, so that the commit which this rollback overtook holds no points when it arrives.
        cancelled = Transaction(
            tenant=command.tenant,
            vendor_id=command.vendor_id,
            transaction_id=command.transaction_id,
            user_id=command.user_id,
            state=State.CANCELLED,
            points=0,
            deducted=0,
            refunded=0,
            description="",
            created_at=now,
            expires_at=None,
            ended_at=now,
        )
        return Decision(_missing(command, cancelled), transaction=cancelled)
    if transaction.state is State.CANCELLED:
        return Decision(_missing(command, transaction))
    if transaction.user_id != command.user_id:
        return Decision(_mismatch(transaction, "userid"))
    match transaction.state:
        case State.HELD:
            account = _owner(found.account)
            account = account.with_more(available=transaction.points, held=-transaction.points)
            transaction = transaction._replace(state=State.ROLLED_BACK, ended_at=now)
            return Decision(transaction, account, transaction)
        case State.CONFIRMED:
            return Decision(PointsAlreadyDeducted("points already deducted", **_present(transaction)))
        case State.ROLLED_BACK | State.EXPIRED | State.REJECTED:
            return Decision(NoPointsToRollBack("no points to roll back", **_present(transaction)))
        case _:
            assert_never(transaction.state)


def _decide_refund(command: Refund, found: Found, now: datetime) -> Decision:
    transaction = found.transaction
    if transaction is None or transaction.state is State.CANCELLED:
        return Decision(_missing(command, transaction))
    if transaction.user_id != command.user_id:
        return Decision(_mismatch(transaction, "userid"))
    if transaction.state is not State.CONFIRMED:
        return Decision(NotConfirmed("only deducted points can be refunded", **_present(transaction)))
    if found.entry is not None:
        if found.entry.points != command.points:
            return Decision(_mismatch(transaction, "points"))
        return Decision(transaction, repeated=True)
    if command.points > transaction.deducted - transaction.refunded:
        return Decision(RefundTooLarge("more than was deducted cannot be refunded", **_present(transaction)))
    account = _owner(found.account)
    if account.total + command.points > MAX_POINTS:
        return Decision(BalanceLimit("the account cannot take that many points", **_present(transaction)))
    account, entry = enter(
        account,
        Kind.REFUND,
        command.points,
        command.source,
        command.reference,
        transaction.description,
        now,
        available=command.points,
    )
    transaction = transaction._replace(refunded=transaction.refunded + command.points)
    return Decision(transaction, account, transaction, entry)


def _decide_post(command: Post, found: Found, now: datetime) -> Decision:
    if found.account is None:
        return Decision(AccountNotFound())
    if found.entry is not None:
        if found.entry.points != command.points:
            return Decision(ReferenceMismatch("This reference was used with another number of points."))
        return Decision(found.entry, repeated=True)
    if found.account.closed_at is not None:
        return Decision(AccountClosed())
    posted = decide_post(command, found.account, now)
    if isinstance(posted, Refusal):
        return Decision(posted)
    account, entry = posted
    return Decision(entry, account, entry=entry)


def _decide_close(found: Found, now: datetime) -> Decision:
    """What is available lapses with it, in the same way as what holds give back later."""
    if found.account is None:
        return Decision(AccountNotFound())
    if found.account.closed_at is not None:
        return Decision(found.account, repeated=True)
    account = found.account._replace(closed_at=now)
    return Decision(account, account)


def _owner(account: Account | None) -> Account:
    """The account of a hold always exists; a missing one is a programming error."""
    if account is None:
        raise LookupError("a transaction with points has no account")
    return account


def _names(command: TransactionCommand) -> dict[str, Any]:
    return {"transactionid": command.transaction_id}


def _present(transaction: Transaction) -> dict[str, Any]:
    return {"transactionid": transaction.transaction_id, "state": transaction.state.value}


def _missing(command: TransactionCommand, transaction: Transaction | None = None) -> Refusal:
    return TransactionNotFound(
        "transaction not found", **(_names(command) if transaction is None else _present(transaction))
    )


def _rolled_back(transaction: Transaction) -> Refusal:
    return TransactionRolledBack("the transaction was rolled back", **_present(transaction))


def _mismatch(transaction: Transaction, field: str) -> Refusal:
    return TransactionMismatch(f"the transaction was made with another {field}", field=field, **_present(transaction))
