"""The one writer of points: commands wait in line, and a lane carries out all waiting ones in one transaction.

    submit → line → lock accounts → read → decide one by one → write all → COMMIT → answer each

`domain` has the rules, `store` the statements; this module has the order of the steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import asyncpg
from shared.db import Database
from shared.errors import Refusal, Unavailable
from shared.group_commit import GroupCommit
from shared.idempotency import Answer, IdempotencyKeyReused, RequestKey

from points_ledger import store
from points_ledger.domain.accounts import Account, Entry, Expire, Post
from points_ledger.domain.decisions import Command, Decision, Found, decide
from points_ledger.domain.transactions import Refund, State, Transaction, release_expired
from points_ledger.store import AccountKey, AnswerKey, EntryKey, KeptAnswer, TransactionKey

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


class Order(NamedTuple):
    """A command, the function that makes its answer, and its idempotency key."""

    command: Command
    shape: Shape
    client_id: str = ""
    key: RequestKey | None = None


class Ledger:
    """Carries out commands. One in a process."""

    def __init__(self, database: Database, *, lanes: int = 2, batch_size: int = 256) -> None:
        self._database = database
        self._line = GroupCommit[Order, Answer](self._write, name="ledger", lanes=lanes, batch_size=batch_size)

    async def carry_out(self, order: Order) -> Answer:
        """Returns when the command's effect, or its refusal, is durably written.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
            Unavailable: nothing was committed. As OutcomeUnknown: the database's answer to COMMIT was lost.
        """
        return await self._line.submit(order)

    async def close(self) -> None:
        """Accepts no more commands and finishes those that wait."""
        await self._line.close()

    async def _write(self, orders: Sequence[Order]) -> Sequence[Answer | Exception]:
        try:
            async with self._database.raw_transaction() as connection:
                rows = [_rows_of(order) for order in orders]
                batch = await _gather(connection, rows)
                results = [batch.carry_out(*one) for one in zip(orders, rows, strict=True)]
                await _keep(connection, batch)
        except asyncpg.UniqueViolationError as error:
            raise LostRace(log=f"lost a race: {error.constraint_name}") from error
        return results


class _Rows(NamedTuple):
    """The keys of the rows that an order concerns."""

    account: AccountKey
    transaction: TransactionKey | None
    entry: EntryKey | None
    answer: AnswerKey | None


def _rows_of(order: Order) -> _Rows:
    command, transaction, entry, answer = order.command, None, None, None
    if not isinstance(command, (Post, Expire)):
        transaction = TransactionKey(command.tenant, command.vendor_id, command.transaction_id)
    if isinstance(command, (Post, Refund)):
        entry = EntryKey(command.tenant, command.user_id, command.kind.value, command.source, command.reference)
    if order.key is not None:
        answer = AnswerKey(command.tenant, order.client_id, order.key.key)
    return _Rows(AccountKey(command.tenant, command.user_id), transaction, entry, answer)


@dataclass(slots=True)
class _Batch:
    """The rows that a transaction read, and their changes command by command."""

    now: datetime
    accounts: dict[AccountKey, Account]
    transactions: dict[TransactionKey, Transaction]
    entries: dict[EntryKey, Entry]
    answers: dict[AnswerKey, KeptAnswer]
    changed_accounts: set[AccountKey] = field(default_factory=set)
    new_transactions: set[TransactionKey] = field(default_factory=set)
    changed_transactions: set[TransactionKey] = field(default_factory=set)
    repeated_transactions: set[TransactionKey] = field(default_factory=set)
    new_entries: list[Entry] = field(default_factory=list)
    new_answers: dict[AnswerKey, KeptAnswer] = field(default_factory=dict)
    repeated_answers: set[AnswerKey] = field(default_factory=set)

    def release_expired(self) -> None:
        """Returns the points of expired holds to their accounts, before any command is decided.

        If a transaction's owner is not locked here, the command names another user. Then the transaction is only read,
        in its present state.
        """
        for key, transaction in self.transactions.items():
            owner = AccountKey(transaction.tenant, transaction.user_id)
            account = self.accounts.get(owner)
            if account is None:
                self.transactions[key] = transaction.as_of(self.now)
                continue
            account, seen = release_expired(account, transaction, self.now)
            if seen is not transaction:
                self.accounts[owner], self.transactions[key] = account, seen
                self.changed_accounts.add(owner)
                self.changed_transactions.add(key)

    def carry_out(self, order: Order, rows: _Rows) -> Answer | Exception:
        """The answer to one command, which sees the effects of those before it in the batch."""
        if rows.answer is None or order.key is None:
            return self._decide(order, rows)
        kept = self.answers.get(rows.answer)
        if kept is not None:
            self.repeated_answers.add(rows.answer)
            if kept.fingerprint != order.key.fingerprint:
                return IdempotencyKeyReused()
            return Answer.replay(kept.answer)
        answer = self._decide(order, rows)
        kept = KeptAnswer(order.key.fingerprint, answer.to_bytes())
        self.answers[rows.answer] = self.new_answers[rows.answer] = kept
        return answer

    def _decide(self, order: Order, rows: _Rows) -> Answer:
        found = Found(
            self.accounts.get(rows.account),
            None if rows.transaction is None else self.transactions.get(rows.transaction),
            None if rows.entry is None else self.entries.get(rows.entry),
        )
        decision = decide(order.command, found, self.now)
        self._apply(decision, rows, found)
        return order.shape(Settled(decision.outcome, decision.repeated, self.accounts.get(rows.account)))

    def _apply(self, decision: Decision, rows: _Rows, found: Found) -> None:
        if decision.account is not None:
            self.accounts[rows.account] = decision.account
            self.changed_accounts.add(rows.account)
        if rows.transaction is not None and decision.transaction is not None:
            self.transactions[rows.transaction] = decision.transaction
            (self.new_transactions if found.transaction is None else self.changed_transactions).add(rows.transaction)
        elif rows.transaction is not None and found.transaction is not None:
            # A repeat is written too. If a COMMIT was cut short while it waited for a synchronous standby, its row is
            # visible here and would be lost with this machine.
            self.repeated_transactions.add(rows.transaction)
        if decision.repeated and isinstance(decision.outcome, Entry):
            # Entries cannot be written again, so their account is.
            self.changed_accounts.add(rows.account)
        if decision.entry is not None:
            entry = decision.entry
            self.entries[EntryKey(entry.tenant, entry.user_id, entry.kind.value, entry.source, entry.reference)] = entry
            self.new_entries.append(entry)


async def _gather(connection: asyncpg.Connection, orders: Sequence[_Rows]) -> _Batch:
    users = {rows.account for rows in orders}
    accounts = await store.lock_accounts(connection, users)
    now, transactions = await store.read_transactions(
        connection,
        {rows.transaction for rows in orders if rows.transaction is not None},
        # Only accounts with held points can have expired holds.
        [key for key, account in accounts.items() if account.held],
    )
    if any(
        t.state is not State.CANCELLED and (owner := AccountKey(t.tenant, t.user_id)) in users and owner not in accounts
        for t in transactions.values()
    ):
        # A transaction with points has an account, yet there was none to lock: it was opened meanwhile.
        raise LostRace(log="an account was opened between two looks")
    entry_keys = {rows.entry for rows in orders if rows.entry is not None}
    answer_keys = {rows.answer for rows in orders if rows.answer is not None}
    batch = _Batch(
        now,
        accounts,
        transactions,
        await store.read_entries(connection, entry_keys) if entry_keys else {},
        await store.read_answers(connection, answer_keys) if answer_keys else {},
    )
    batch.release_expired()
    return batch


async def _keep(connection: asyncpg.Connection, batch: _Batch) -> None:
    changed = batch.changed_transactions - batch.new_transactions
    if batch.changed_accounts or batch.new_transactions or changed or batch.new_entries:
        await store.write_changes(
            connection,
            accounts=[batch.accounts[key] for key in batch.changed_accounts],
            new_transactions=[batch.transactions[key] for key in batch.new_transactions],
            changed_transactions=[batch.transactions[key] for key in changed],
            new_entries=batch.new_entries,
        )
    repeated = batch.repeated_transactions - batch.new_transactions - changed
    if repeated:
        await store.touch_transactions(connection, repeated)
    if batch.new_answers and not await store.write_answers(connection, batch.new_answers):
        raise LostRace(log="lost a race: idempotency key")
    repeated_answers = batch.repeated_answers - batch.new_answers.keys()
    if repeated_answers:
        await store.touch_answers(connection, repeated_answers)
