"""The use cases of vendors' transactions, in their words."""

from dataclasses import dataclass
from datetime import datetime

from shared.callers import Caller
from shared.db import Database
from shared.idempotency import Answer, RequestKey
from shared.paging import Page

from points_ledger.domain.transactions import Commit, State, Transaction, TransactionCommand, TransactionNotFound
from points_ledger.eai import queries
from points_ledger.holds.watching import HoldsWatch
from points_ledger.ledger import Ledger, Order, Shape
from points_ledger.vendors.hold_times import HoldTimes


@dataclass(frozen=True, slots=True)
class TransactionsPage:
    """A page, and from where on a vendor asks again another day."""

    page: Page[Transaction]
    resume_cursor: str | None


class TransactionService:
    """One a process."""

    def __init__(
        self, database: Database, ledger: Ledger, hold_times: HoldTimes, holds: HoldsWatch, *, max_open_holds: int
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._hold_times = hold_times
        self._holds = holds
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
        return await self._ledger.carry_out(Order(command, shape, caller.client_id, key))

    async def find_transaction(self, caller: Caller, transaction_id: str) -> Transaction:
        """Raises TransactionNotFound, also for another vendor's transaction."""
        async with self._database.transaction() as connection:
            found = await queries.read_transaction(connection, caller.tenant, caller.vendor, transaction_id)
        if found is None:
            raise TransactionNotFound("transaction not found", transactionid=transaction_id)
        return found

    async def transactions_of(
        self, caller: Caller, *, state: State | None, since: datetime | None, cursor: str | None, limit: int
    ) -> TransactionsPage:
        """The vendor's transactions, oldest first.

        Raises:
            InvalidCursor: of another list, or with other filters.
        """
        pages = queries.TRANSACTIONS.of(caller.tenant, caller.vendor, state=state, since=since)
        after = pages.place(cursor)
        async with self._database.transaction() as connection:
            found = await queries.read_transactions(
                connection, caller.tenant, caller.vendor, state=state, since=since, after=after, limit=limit + 1
            )
        page = pages.cut(found, limit, _place_of)
        return TransactionsPage(page, pages.cursor(_place_of(page.items[-1])) if page.items else cursor)


def _place_of(transaction: Transaction) -> queries.TransactionPlace:
    return queries.TransactionPlace(transaction.created_at, transaction.transaction_id)
