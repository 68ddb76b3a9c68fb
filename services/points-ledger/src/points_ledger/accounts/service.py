"""The use cases of accounts: what the platform may ask for, in its words."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from shared.callers import Caller
from shared.db import Database
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer, RequestKey
from shared.paging import Page
from shared.reports import Reports

from points_ledger.accounts import queries
from points_ledger.accounts.queries import Balance
from points_ledger.domain.accounts import AccountClosed, Close, Entry, InvalidUser, Post
from points_ledger.ledger import Ledger, Order, Settled, Shape

#: No batch of commands takes longer than that: so long, something may get the time of a past instant.
_STILL_WRITTEN: Final = timedelta(seconds=60)
_DONE: Final = 204


class InstantInTheFuture(Malformed):
    code = "instant_in_the_future"

    def __init__(self) -> None:
        super().__init__("The balance of a future instant is not known.")


class ClosedAccount(NamedTuple):
    """`is_closing`: some of its holds are open still."""

    user_id: str
    is_closing: bool
    lapsed: int


class AccountService:
    """One in a process. A writing use case returns when its effect is durable."""

    def __init__(self, database: Database, reports: Reports, ledger: Ledger) -> None:
        self._database = database
        self._reports = reports
        self._ledger = ledger

    async def open_account(self, tenant: str, user_id: str) -> tuple[Balance, bool]:
        """The account, and whether it was opened now."""
        async with self._database.transaction() as connection:
            opened = await queries.open_account(connection, tenant, user_id)
            balance = await queries.read_balance(connection, tenant, user_id)
        if balance is None:
            raise LookupError("an account that was just opened is not there")
        if balance.account.closed_at is not None:
            raise AccountClosed
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
        return await self._ledger.carry_out(Order.by(caller, command, shape, key))

    async def balance_of(self, tenant: str, user_id: str) -> Balance:
        """Raises InvalidUser with the code account_not_found."""
        async with self._database.transaction() as connection:
            balance = await queries.read_balance(connection, tenant, user_id)
        if balance is None:
            raise InvalidUser("There is no such account.", code="account_not_found")
        return balance

    async def balance_at(self, caller: Caller, user_id: str, at: datetime) -> Balance:
        """The balance at a past instant, all of its millisecond included; the same answer whenever it is asked.

        Raises:
            InstantInTheFuture, TooManyReports: as they say.
            InvalidUser: with the code account_not_found.
        """
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        until = at + timedelta(milliseconds=1)
        async with self._reports.transaction(caller.tenant, caller.client_id) as connection:
            now = await queries.read_clock(connection)
            if at > now:
                raise InstantInTheFuture
            if now - at < _STILL_WRITTEN:
                while now < until:
                    now = await queries.read_clock(connection)
                await queries.wait_for_writers(connection, caller.tenant, user_id)
            account = await queries.read_balance_at(connection, caller.tenant, user_id, until)
        if account is None:
            raise InvalidUser("There is no such account.", code="account_not_found")
        return Balance(account, at)

    async def close_account(self, caller: Caller, user_id: str, reason: str) -> ClosedAccount:
        """Closes the account for good; again: how it stands.

        Raises:
            InvalidUser: with the code account_not_found.
        """

        def shape(settled: Settled) -> Answer:
            return Answer.of_refusal(settled.outcome) if isinstance(settled.outcome, Refusal) else Answer(204, b"")

        command = Close(caller.tenant, user_id, reason)
        if (await self._ledger.carry_out(Order.by(caller, command, shape))).status != _DONE:
            raise InvalidUser("There is no such account.", code="account_not_found")
        balance = await self.balance_of(caller.tenant, user_id)
        async with self._database.transaction() as connection:
            lapsed = await queries.sum_lapsed(connection, caller.tenant, user_id)
        return ClosedAccount(user_id, balance.account.held > 0, lapsed)

    async def statement_of(
        self, tenant: str, user_id: str, *, reader: str, cursor: str | None, limit: int
    ) -> Page[Entry]:
        """Entries, newest first.

        Args:
            reader: whose reports under way this one is counted among.

        Raises:
            InvalidCursor: of another list.
            InvalidUser: with the code account_not_found.
        """
        pages = queries.ENTRIES.of(tenant, user_id)
        before = pages.place(cursor)
        async with self._reports.transaction(tenant, reader) as connection:
            if await queries.read_balance(connection, tenant, user_id) is None:
                raise InvalidUser("There is no such account.", code="account_not_found")
            found = await queries.read_entries(connection, tenant, user_id, before=before, limit=limit + 1)
        return pages.cut(found, limit, lambda entry: queries.EntryPlace(entry.number))
