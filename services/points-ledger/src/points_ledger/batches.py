"""A batch of orders in one transaction: what it reads, what it decides one by one, and what it writes."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import asyncpg
from shared.events.domain import NewEvent
from shared.idempotency import Answer, IdempotencyKeyReused
from shared.raw_batches import RawBatch

from points_ledger import store
from points_ledger.domain.accounts import Account, Close, Entry, InsufficientPoints, lapse
from points_ledger.domain.decisions import Command, Decision, Found, decide
from points_ledger.domain.transactions import Commit, Refund, State, Transaction, release_expired
from points_ledger.events import entry_made, points_refunded, transaction_moved
from points_ledger.orders import LostRace, NotSettled, Order, Rows, Settled, holds_of
from points_ledger.store import AccountKey, AnswerKey, EntryKey, HoldsKey, KeptAnswer, TransactionKey

#: Up to so many expired holds that a batch leaves to `holds.releasing`, their points are added up.
_DUE_ADDED_UP: Final = 10_000
#: Why points lapse that come back to a closed account.
_CLOSED: Final = "account closed"


@dataclass(slots=True)
class Batch:
    """The rows that a transaction read, and their changes command by command."""

    #: The only one that it concerns, or None if there may be several.
    tenant: str | None
    now: datetime
    accounts: dict[AccountKey, Account]
    transactions: dict[TransactionKey, Transaction]
    entries: dict[EntryKey, Entry]
    answers: dict[AnswerKey, KeptAnswer]
    #: Account → points of its expired holds that this batch does not release; None where there are too many to say.
    left: dict[AccountKey, int | None]
    #: Where they may be too many: the vendor's open holds in the account.
    open_holds: dict[HoldsKey, int]
    changed_accounts: set[AccountKey] = field(default_factory=set)
    new_transactions: set[TransactionKey] = field(default_factory=set)
    changed_transactions: set[TransactionKey] = field(default_factory=set)
    repeated_transactions: set[TransactionKey] = field(default_factory=set)
    new_entries: list[Entry] = field(default_factory=list)
    new_answers: dict[AnswerKey, KeptAnswer] = field(default_factory=dict)
    repeated_answers: set[AnswerKey] = field(default_factory=set)
    #: The tenant and the event of all that the batch tells, in the order in which it happened.
    events: list[tuple[str, NewEvent]] = field(default_factory=list)

    def release_expired(self) -> Counter[AccountKey]:
        """Returns the points of expired holds to their accounts, before any command is decided.

        If a transaction's owner is not locked here, the command names another user. Then the transaction is only read,
        in its present state.
        """
        released: Counter[AccountKey] = Counter()
        for key, transaction in self.transactions.items():
            seen = transaction.as_of(self.now)
            if seen is transaction:
                continue
            self.transactions[key] = seen
            owner = AccountKey(transaction.tenant, transaction.user_id)
            account = self.accounts.get(owner)
            if account is not None:
                self.accounts[owner], _ = release_expired(account, transaction, self.now)
                self.changed_accounts.add(owner)
                self.changed_transactions.add(key)
                released[owner] += transaction.points
                self._tell(seen.tenant, transaction_moved(seen))
        for owner in released:
            self._lapse(owner, _CLOSED, None)
        return released

    def carry_out(self, order: Order, rows: Rows) -> Answer | Exception:
        """The answer to one command, which sees the effects of those before it in the batch."""
        if rows.answer is None or order.key is None:
            return self._decide(order, rows)
        kept = self.answers.get(rows.answer)
        if kept is not None:
            self.repeated_answers.add(rows.answer)
            if not order.key.fits(kept.fingerprint):
                return IdempotencyKeyReused()
            return Answer.replay(kept.answer)
        answer = self._decide(order, rows)
        if isinstance(answer, NotSettled):
            return answer
        kept = KeptAnswer(order.key.fingerprint, answer.to_bytes())
        self.answers[rows.answer] = self.new_answers[rows.answer] = kept
        return answer

    def _decide(self, order: Order, rows: Rows) -> Answer | NotSettled:
        left = self.left.get(rows.account, 0)
        if left is None:
            return NotSettled(are_too_many=True, log="many expired holds")
        holds = holds_of(order) if self.open_holds else None
        found = Found(
            self.accounts.get(rows.account),
            None if rows.transaction is None else self.transactions.get(rows.transaction),
            None if rows.entry is None else self.entries.get(rows.entry),
            None if holds is None else self.open_holds.get(holds),
        )
        decision = _signed(decide(order.command, found, self.now), order)
        if left and isinstance(decision.outcome, InsufficientPoints) and found.transaction is None:
            # With what is left of the expired holds it might be enough. Where it is not, it is said then.
            return NotSettled(are_too_many=False, log="expired holds")
        self._apply(decision, order, rows, found)
        if holds in self.open_holds and found.transaction is None and decision.transaction is not None:
            self.open_holds[holds] += decision.transaction.state is State.HELD
        account = self.accounts.get(rows.account)
        if left and account is not None:
            account = account.with_more(available=left, held=-left)
        return order.shape(Settled(decision.outcome, decision.repeated, account))

    def _apply(self, decision: Decision, order: Order, rows: Rows, found: Found) -> None:
        if decision.account is not None:
            self.accounts[rows.account] = decision.account
            self.changed_accounts.add(rows.account)
        if rows.transaction is not None and decision.transaction is not None:
            self.transactions[rows.transaction] = decision.transaction
            (self.new_transactions if found.transaction is None else self.changed_transactions).add(rows.transaction)
            self._tell(decision.transaction.tenant, _event_of(order.command, decision.transaction, self.now))
        elif rows.transaction is not None and found.transaction is not None:
            # A repeat is written too. If a COMMIT was cut short while it waited for a synchronous standby, its row is
            # visible here and would be lost with this machine.
            self.repeated_transactions.add(rows.transaction)
        if decision.repeated and isinstance(decision.outcome, Entry | Account):
            # Entries cannot be written again, so their account is.
            self.changed_accounts.add(rows.account)
        if decision.entry is not None:
            self._enter(decision.entry)
        if decision.account is not None:
            reason = order.command.reason if isinstance(order.command, Close) else _CLOSED
            self._lapse(rows.account, reason, order)

    def _lapse(self, owner: AccountKey, reason: str, order: Order | None) -> None:
        lapsed = lapse(self.accounts[owner], reason, self.now)
        if lapsed is not None:
            self.accounts[owner], entry = lapsed
            self._enter(entry if order is None else _with_maker(entry, order))

    def _enter(self, entry: Entry) -> None:
        self.entries[EntryKey(entry.tenant, entry.user_id, entry.kind.value, entry.source, entry.reference)] = entry
        self.new_entries.append(entry)
        self._tell(entry.tenant, entry_made(entry))

    def _tell(self, tenant: str, event: NewEvent | None) -> None:
        if event is not None:
            self.events.append((tenant, event))


def _event_of(command: Command, transaction: Transaction, now: datetime) -> NewEvent | None:
    if isinstance(command, Refund):
        return points_refunded(transaction, command.refund_id, command.points, now)
    return transaction_moved(transaction)


def _with_maker(entry: Entry, order: Order) -> Entry:
    # Not `_replace`, which takes several times as long; so below.
    return Entry(*entry[:10], order.client_id or None, order.subject, order.request_id)


def _signed(decision: Decision, order: Order) -> Decision:
    """The decision, whose entry says who made it."""
    if decision.entry is None:
        return decision
    entry = _with_maker(decision.entry, order)
    outcome = entry if decision.outcome is decision.entry else decision.outcome
    return Decision(outcome, decision.account, decision.transaction, entry, decision.repeated)


async def gather(
    transaction: RawBatch,
    users: Set[AccountKey],
    tenant: str | None,
    orders: Sequence[Order],
    named: Sequence[Rows],
) -> Batch:
    connection, at_most = transaction.connection, store.due_in(len(users))
    now, accounts, transactions, due = await store.read_batch(
        connection, users, {rows.transaction for rows in named if rows.transaction is not None}, at_most, tenant
    )
    if len(accounts) != transaction.rows:
        # Nobody can delete one that is locked.
        raise LostRace(log="an account was opened after the others were locked")
    entry_keys = {rows.entry for rows in named if rows.entry is not None}
    answer_keys = {rows.answer for rows in named if rows.answer is not None}
    batch = Batch(
        tenant,
        now,
        accounts,
        transactions,
        await store.read_entries(connection, entry_keys, tenant) if entry_keys else {},
        await store.read_answers(connection, answer_keys, tenant) if answer_keys else {},
        left={},
        open_holds=await _count_open_holds(connection, orders, named, accounts, now, tenant),
    )
    released = batch.release_expired()
    full = [owner for owner, count in due.items() if count >= at_most]
    if full:
        sums = await store.sum_due(connection, full, now, _DUE_ADDED_UP + at_most, tenant)
        for owner, all_due in sums.items():
            batch.left[owner] = None if all_due.holds >= _DUE_ADDED_UP + at_most else all_due.points - released[owner]
    return batch


async def _count_open_holds(
    connection: asyncpg.Connection,
    orders: Sequence[Order],
    named: Sequence[Rows],
    accounts: Mapping[AccountKey, Account],
    now: datetime,
    tenant: str | None,
) -> dict[HoldsKey, int]:
    """Counted only where there may be too many: each hold has a point at least."""
    near: dict[HoldsKey, int] = {}
    for order, rows in zip(orders, named, strict=True):
        command = order.command
        if isinstance(command, Commit):
            account = accounts.get(rows.account)
            if account is not None and account.held >= command.max_open_holds:
                near[HoldsKey(command.tenant, command.user_id, command.vendor_id)] = command.max_open_holds
    return await store.count_open(connection, near, now, max(1, *near.values()), tenant) if near else {}


async def keep(transaction: RawBatch, batch: Batch) -> None:
    connection = transaction.connection
    changed = batch.changed_transactions - batch.new_transactions
    repeated = batch.repeated_transactions - batch.new_transactions - changed
    if batch.new_answers and not await store.write_answers(connection, batch.new_answers, batch.tenant):
        raise LostRace(log="lost a race: idempotency key")
    repeated_answers = batch.repeated_answers - batch.new_answers.keys()
    if repeated_answers:
        await store.touch_answers(connection, repeated_answers, batch.tenant)
    # After the answers, as the changes of transactions are: two batches take both in one order.
    if repeated:
        await store.touch_transactions(connection, repeated, batch.now, batch.tenant)
    if batch.changed_accounts or batch.new_transactions or changed or batch.new_entries:
        await transaction.end_with(
            *store.changing(
                tenant=batch.tenant,
                now=batch.now,
                accounts=[batch.accounts[key] for key in batch.changed_accounts],
                new_transactions=[batch.transactions[key] for key in batch.new_transactions],
                changed_transactions=[batch.transactions[key] for key in changed],
                new_entries=batch.new_entries,
                events=batch.events,
            )
        )
