"""The use cases of the ledger, for vendors and for the platform."""

from dataclasses import dataclass
from datetime import datetime

from shared.callers import Caller
from shared.db import Database
from shared.errors import Malformed
from shared.idempotency import Answer, RequestKey

from points_ledger import history, queries
from points_ledger.domain.accounts import Entry, InvalidUser, Post
from points_ledger.domain.transactions import (
    Commit,
    Confirm,
    Refund,
    Rollback,
    State,
    Transaction,
    TransactionNotFound,
)
from points_ledger.hold_times import HoldTimes
from points_ledger.ledger import Ledger, Order, Shape
from points_ledger.queries import Balance


@dataclass(frozen=True, slots=True)
class TransactionsPage:
    """`next_cursor` is None if nothing follows yet; a vendor continues another day from `resume_cursor`."""

    transactions: list[Transaction]
    next_cursor: str | None
    resume_cursor: str | None


class PointsService:
    """One in a process. A writing use case returns when its effect is durable."""

    def __init__(self, database: Database, ledger: Ledger, *, hold_seconds: int) -> None:
        self._database = database
        self._ledger = ledger
        self._hold_times = HoldTimes(database, default_seconds=hold_seconds)

    async def hold_points(
        self,
        caller: Caller,
        *,
        user_id: str,
        points: int,
        transaction_id: str,
        description: str,
        shape: Shape,
        key: RequestKey | None,
    ) -> Answer:
        """Phase 1 of a redemption (commit)."""
        hold = await self._hold_times.of(caller.tenant, caller.vendor)
        command = Commit(caller.tenant, caller.vendor, transaction_id, user_id, points, description, hold)
        return await self._ledger.carry_out(Order(command, shape, caller.client_id, key))

    async def confirm_points(
        self,
        caller: Caller,
        *,
        user_id: str,
        transaction_id: str,
        points: int | None,
        shape: Shape,
        key: RequestKey | None,
    ) -> Answer:
        """Phase 2: deducts all held points, or `points` of them and releases the rest."""
        command = Confirm(caller.tenant, caller.vendor, transaction_id, user_id, points)
        return await self._ledger.carry_out(Order(command, shape, caller.client_id, key))

    async def roll_back_points(
        self, caller: Caller, *, user_id: str, transaction_id: str, shape: Shape, key: RequestKey | None
    ) -> Answer:
        """Phase 2: releases the held points."""
        command = Rollback(caller.tenant, caller.vendor, transaction_id, user_id)
        return await self._ledger.carry_out(Order(command, shape, caller.client_id, key))

    async def refund_points(
        self,
        caller: Caller,
        *,
        user_id: str,
        transaction_id: str,
        refund_id: str,
        points: int,
        shape: Shape,
        key: RequestKey | None,
    ) -> Answer:
        """Gives points back after a confirm."""
        command = Refund(caller.tenant, caller.vendor, transaction_id, user_id, refund_id, points)
        return await self._ledger.carry_out(Order(command, shape, caller.client_id, key))

    async def find_transaction(self, caller: Caller, transaction_id: str) -> Transaction:
        """Raises TransactionNotFound, also for another vendor's transaction."""
        async with self._database.transaction() as connection:
            found = await queries.read_transaction(connection, caller.tenant, caller.vendor, transaction_id)
        if found is None:
            raise TransactionNotFound("transaction not found", transactionid=transaction_id)
        return found

    async def open_account(self, tenant: str, user_id: str) -> tuple[Balance, bool]:
        """The account, and whether it was opened now."""
        async with self._database.transaction() as connection:
            opened = await queries.open_account(connection, tenant, user_id)
            balance = await queries.read_balance(connection, tenant, user_id)
        if balance is None:
            raise LookupError("an account that was just opened is not there")
        return balance, opened

    async def post(
        self,
        caller: Caller,
        *,
        user_id: str,
        points: int,
        reference: str,
        reason: str,
        shape: Shape,
        key: RequestKey | None,
    ) -> Answer:
        """Credits (`points` > 0) or debits (`points` < 0) an account, once for each reference."""
        command = Post(caller.tenant, user_id, points, reference, reason)
        return await self._ledger.carry_out(Order(command, shape, caller.client_id, key))

    async def balance_of(self, tenant: str, user_id: str) -> Balance:
        """Raises InvalidUser with the code account_not_found."""
        async with self._database.transaction() as connection:
            balance = await queries.read_balance(connection, tenant, user_id)
        if balance is None:
            raise InvalidUser("There is no such account.", code="account_not_found")
        return balance

    async def balance_at(self, tenant: str, user_id: str, at: datetime) -> Balance:
        """As of a past instant.

        Raises:
            Malformed: the instant lies in the future.
            InvalidUser: with the code account_not_found.
        """
        async with self._database.transaction() as connection:
            if at > await queries.read_clock(connection):
                raise Malformed("The balance of a future instant is not known.", code="instant_in_the_future")
            balance = await history.read_balance_at(connection, tenant, user_id, at)
        if balance is None:
            raise InvalidUser("There is no such account.", code="account_not_found")
        return balance

    async def statement_of(
        self, tenant: str, user_id: str, *, cursor: str | None, limit: int
    ) -> tuple[list[Entry], str | None]:
        """Entries, newest first, and the cursor of the next page if there is one."""
        before = None if cursor is None else history.entry_number(cursor)
        async with self._database.transaction() as connection:
            if await queries.read_balance(connection, tenant, user_id) is None:
                raise InvalidUser("There is no such account.", code="account_not_found")
            found = await history.read_entries(connection, tenant, user_id, before=before, limit=limit)
        # Entry number 1 is the oldest of an account, so no page follows it.
        is_last = len(found) < limit or found[-1].number == 1
        return found, None if is_last else history.entry_cursor(found[-1].number)

    async def transactions_of(
        self, caller: Caller, *, state: State | None, since: datetime | None, cursor: str | None, limit: int
    ) -> TransactionsPage:
        """The vendor's transactions, oldest first."""
        after = None if cursor is None else history.Place.from_cursor(cursor)
        async with self._database.transaction() as connection:
            found = await history.read_transactions(
                connection, caller.tenant, caller.vendor, state=state, since=since, after=after, limit=limit + 1
            )
        shown = found[:limit]
        if shown:
            cursor = history.Place(shown[-1].created_at, shown[-1].transaction_id).to_cursor()
        return TransactionsPage(shown, next_cursor=cursor if len(found) > limit else None, resume_cursor=cursor)

    async def set_hold_time(self, tenant: str, vendor_id: str, hold_seconds: int) -> None:
        """Applies to new holds; open ones keep their end."""
        await self._hold_times.set(tenant, vendor_id, hold_seconds)
