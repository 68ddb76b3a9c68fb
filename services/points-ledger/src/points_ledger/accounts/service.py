"""The use cases of accounts: what the platform may ask for, in its words."""

from datetime import datetime

from shared.callers import Caller
from shared.db import Database
from shared.errors import Malformed
from shared.idempotency import Answer, RequestKey
from shared.paging import Page

from points_ledger.accounts import queries
from points_ledger.accounts.queries import Balance
from points_ledger.domain.accounts import Entry, InvalidUser, Post
from points_ledger.ledger import Ledger, Order, Shape


class AccountService:
    """One in a process. A writing use case returns when its effect is durable."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

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
            balance = await queries.read_balance_at(connection, tenant, user_id, at)
        if balance is None:
            raise InvalidUser("There is no such account.", code="account_not_found")
        return balance

    async def statement_of(self, tenant: str, user_id: str, *, cursor: str | None, limit: int) -> Page[Entry]:
        """Entries, newest first.

        Raises:
            InvalidCursor: of another list.
            InvalidUser: with the code account_not_found.
        """
        pages = queries.ENTRIES.of(tenant, user_id)
        before = pages.place(cursor)
        async with self._database.transaction() as connection:
            if await queries.read_balance(connection, tenant, user_id) is None:
                raise InvalidUser("There is no such account.", code="account_not_found")
            found = await queries.read_entries(connection, tenant, user_id, before=before, limit=limit + 1)
        return pages.cut(found, limit, lambda entry: queries.EntryPlace(entry.number))
