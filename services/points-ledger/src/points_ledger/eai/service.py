"""The use cases of vendors' transactions, in their words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.callers import Caller
from shared.db import Database
from shared.idempotency import Answer, RequestKey
from shared.reports import Reports

from points_ledger.domain.accounts import Entry
from points_ledger.domain.transactions import Commit, State, Transaction, TransactionCommand, TransactionNotFound
from points_ledger.eai import queries
from points_ledger.eai.scenarios import Scenarios
from points_ledger.holds.watching import HoldsWatch
from points_ledger.ledger import Ledger
from points_ledger.orders import Order, Shape
from points_ledger.vendors.hold_times import HoldTimes


@dataclass(frozen=True, slots=True)
class TransactionsPage:
    """A page, and from where on a vendor asks again another day."""

    transactions: list[Transaction]
    next_cursor: str | None
    resume_cursor: str | None


class TransactionService:
    """One a process."""

    def __init__(
        self,
        database: Database,
        reports: Reports,
        ledger: Ledger,
        hold_times: HoldTimes,
        holds: HoldsWatch,
        scenarios: Scenarios,
        *,
        max_open_holds: int,
    ) -> None:
        self._database = database
        self._reports = reports
        self._ledger = ledger
        self._hold_times = hold_times
        self._holds = holds
        self._scenarios = scenarios
        self._max_open_holds = max_open_holds

    async def change(self, caller: Caller, command: TransactionCommand, shape: Shape, key: RequestKey | None) -> Answer:
        """Carries out what a vendor asks for; answers when its effect, or its refusal, is durable.

        A hold lasts as long as the vendor's holds do.
        """
        if isinstance(command, Commit):
            # Without room only what is there already is answered.
            room = 0 if self._holds.is_full(command.tenant, command.vendor_id) else self._max_open_holds
            hold = await self._hold_times.of(command.tenant, command.vendor_id)
            command = command._replace(hold=hold, max_open_holds=room)
        if self._scenarios.apply_to(caller.tenant):
            order = Order.by(caller, self._scenarios.changed(command), shape, key)
            return await self._scenarios.answer(command.user_id, await self._ledger.carry_out(order))
        return await self._ledger.carry_out(Order.by(caller, command, shape, key))

    async def find_transaction(self, caller: Caller, transaction_id: str) -> tuple[Transaction, list[Entry]]:
        """The transaction and its refunds.

        Raises:
            TransactionNotFound: also for another vendor's transaction.
        """
        found = await queries.read_transaction(self._database, caller.tenant, caller.vendor, transaction_id)
        if found is None:
            raise TransactionNotFound("transaction not found", transactionid=transaction_id)
        if not found.refunded:
            return found, []
        async with self._database.transaction() as connection:
            return found, await queries.read_refunds(connection, found)

    async def transactions_of(
        self,
        caller: Caller,
        *,
        state: State | None,
        since: datetime | None,
        updated_since: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> TransactionsPage:
        """The vendor's transactions by creation, or by last change with `updated_since`; oldest first.

        Raises:
            InvalidCursor: of another list, or with other filters.
            TooManyReports: the client asks for too many at once.
        """
        listing = queries.TRANSACTIONS if updated_since is None else queries.CHANGES
        tenant, vendor = caller.tenant, caller.vendor
        pages = listing.of(tenant, vendor, state=state, since=since, updated_since=updated_since)
        asked: dict[str, Any] = {"state": state, "since": since, "after": pages.place(cursor), "limit": limit + 1}
        async with self._reports.transaction(tenant, caller.client_id) as connection:
            if updated_since is None:
                found = await queries.read_transactions(connection, tenant, vendor, **asked)
            else:
                found = await queries.read_changes(connection, tenant, vendor, updated_since=updated_since, **asked)
        page = pages.cut(found.rows, limit, lambda listed: listed.place, reached=found.reached)
        resume = page.next_cursor or (pages.cursor(page.items[-1].place) if page.items else cursor)
        return TransactionsPage([listed.transaction for listed in page.items], page.next_cursor, resume)
