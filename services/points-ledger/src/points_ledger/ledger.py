"""The one writer of points: commands wait in line, and a lane carries out all that wait in one transaction.

    submit → line → lock accounts → read → decide one by one → write all → COMMIT → answer each

Rules are in `domain`, statements in `store`; what is here is the order of things.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

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
#: Turns what was decided into what goes over the wire; `repeated` tells an earlier outcome from a new one.
Shape = Callable[[Outcome, bool], Answer]


class LostRace(Unavailable):
    """Another process wrote the same new row first: a second look finds it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command, how its outcome is told, and under which idempotency key."""

    command: Command
    shape: Shape
    client_id: str = ""
    key: RequestKey | None = None


class Ledger:
    """Carries out commands. One a process."""

    def __init__(self, database: Database, *, lanes: int = 2, batch_size: int = 256) -> None:
        self._database = database
        self._line = GroupCommit[Order, Answer](self._write, name="ledger", lanes=lanes, batch_size=batch_size)

    async def carry_out(self, order: Order) -> Answer:
        """Answers when the command's effect, or its refusal, is durably written.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
            Unavailable: nothing was kept (or, as OutcomeUnknown, the answer of the database was lost).
        """
        return await self._line.submit(order)

    async def close(self) -> None:
        """Takes no more and finishes what waits."""
        await self._line.close()

    async def _write(self, orders: Sequence[Order]) -> Sequence[Answer | Exception]:
        try:
            async with self._database.raw_transaction() as connection:
                batch = await _gather(connection, orders)
                results = [batch.carry_out(order) for order in orders]
                await _keep(connection, batch)
        except asyncpg.UniqueViolationError as error:
            raise LostRace(log=f"lost a race: {error.constraint_name}") from error
        return results


@dataclass(slots=True)
class _Batch:
    """What a transaction has read, and what becomes of it command by command."""

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
        """Gives expired holds back to their accounts, before any command is decided.

        A transaction whose owner is not locked here belongs to a command that names another user; it is only
        looked at, as what it is by now.
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

    def carry_out(self, order: Order) -> Answer | Exception:
        """The answer to one command, after all those before it in the batch."""
        key = _answer_key(order)
        if key is None or order.key is None:
            return self._decide(order)
        kept = self.answers.get(key)
        if kept is not None:
            self.repeated_answers.add(key)
            if kept.fingerprint != order.key.fingerprint:
                return IdempotencyKeyReused()
            return Answer.replay(kept.answer)
        answer = self._decide(order)
        self.answers[key] = self.new_answers[key] = KeptAnswer(order.key.fingerprint, answer.to_bytes())
        return answer

    def _decide(self, order: Order) -> Answer:
        command = order.command
        transaction_key, entry_key = _transaction_key(command), _entry_key(command)
        found = Found(
            self.accounts.get(AccountKey(command.tenant, command.user_id)),
            None if transaction_key is None else self.transactions.get(transaction_key),
            None if entry_key is None else self.entries.get(entry_key),
        )
        decision = decide(command, found, self.now)
        self._apply(decision, transaction_key, found)
        return order.shape(decision.outcome, decision.repeated)

    def _apply(self, decision: Decision, transaction_key: TransactionKey | None, found: Found) -> None:
        if decision.account is not None:
            key = AccountKey(decision.account.tenant, decision.account.user_id)
            self.accounts[key] = decision.account
            self.changed_accounts.add(key)
        if transaction_key is not None and decision.transaction is not None:
            self.transactions[transaction_key] = decision.transaction
            (self.new_transactions if found.transaction is None else self.changed_transactions).add(transaction_key)
        elif transaction_key is not None and found.transaction is not None:
            # An answer that only repeats what was found is written too: after a COMMIT that was cut short while it
            # waited for a synchronous standby the row is visible here, and would be lost with this machine.
            self.repeated_transactions.add(transaction_key)
        if decision.repeated and isinstance(decision.outcome, Entry):
            # Entries cannot be written again; their account is, as it stands.
            self.changed_accounts.add(AccountKey(decision.outcome.tenant, decision.outcome.user_id))
        if decision.entry is not None:
            entry = decision.entry
            self.entries[EntryKey(entry.tenant, entry.user_id, entry.kind.value, entry.source, entry.reference)] = entry
            self.new_entries.append(entry)


async def _gather(connection: asyncpg.Connection, orders: Sequence[Order]) -> _Batch:
    commands = [order.command for order in orders]
    users = {AccountKey(c.tenant, c.user_id) for c in commands}
    accounts = await store.lock_accounts(connection, users)
    now, transactions = await store.read_transactions(
        connection, {key for c in commands if (key := _transaction_key(c)) is not None}, accounts
    )
    if any(
        t.state is not State.CANCELLED and (owner := AccountKey(t.tenant, t.user_id)) in users and owner not in accounts
        for t in transactions.values()
    ):
        # Only an account can have a transaction that ever asked for points, and there was none to lock.
        raise LostRace(log="an account was opened between two looks")
    entry_keys = {named for c in commands if (named := _entry_key(c)) is not None}
    answer_keys = {given for order in orders if (given := _answer_key(order)) is not None}
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


def _transaction_key(command: Command) -> TransactionKey | None:
    if isinstance(command, (Post, Expire)):
        return None
    return TransactionKey(command.tenant, command.vendor_id, command.transaction_id)


def _entry_key(command: Command) -> EntryKey | None:
    if isinstance(command, (Post, Refund)):
        return EntryKey(command.tenant, command.user_id, command.kind.value, command.source, command.reference)
    return None


def _answer_key(order: Order) -> AnswerKey | None:
    return None if order.key is None else AnswerKey(order.command.tenant, order.client_id, order.key.key)
