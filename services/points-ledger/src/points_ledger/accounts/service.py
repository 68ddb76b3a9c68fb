"""The use cases of accounts: what the platform may ask for, in its words."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from shared.acts import Act, note
from shared.bounded import Bounded
from shared.callers import Caller
from shared.db import Database
from shared.errors import Malformed, Refusal
from shared.idempotency import Answer, RequestKey
from shared.paging import Page
from shared.reports import Reports
from shared.sandboxes.domain import SandboxUser
from shared.times import iso

from points_ledger.accounts import queries
from points_ledger.accounts.crediting import Crediting, CreditList
from points_ledger.accounts.queries import Balance
from points_ledger.domain.accounts import Account, AccountClosed, AccountNotFound, Close, Entry, Post
from points_ledger.domain.decisions import Found, decide
from points_ledger.ledger import Ledger
from points_ledger.orders import Order, Settled, Shape
from points_ledger.tables import acts

#: No batch of commands takes longer than that: so long, something may get the time of a past instant.
_STILL_WRITTEN: Final = timedelta(seconds=60)
_DONE: Final = 204
#: The account was closed before.
_REPEATED: Final = 200
#: The reference under which a sandbox's user gets points.
_STARTING_POINTS: Final = "starting-points"


class InstantInTheFuture(Malformed):
    code = "instant_in_the_future"

    def __init__(self) -> None:
        super().__init__("The balance of a future instant is not known.")


class ClosedAccount(NamedTuple):
    """`is_closing`: some of its holds are open still."""

    user_id: str
    is_closing: bool
    lapsed: int


class Rehearsal:
    """An import that changes nothing: what each of its credits would come to.

    Args:
        open_accounts: whether accounts that are missing would be opened.
    """

    #: References and accounts that an import has named so far are remembered up to this number.
    _MOST: Final = 100_000

    def __init__(self, database: Database, tenant: str, *, open_accounts: bool) -> None:
        self._database = database
        self._tenant = tenant
        self._open_accounts = open_accounts
        self._accounts: Bounded[str, Account] = Bounded(self._MOST)
        self._entries: Bounded[tuple[str, str], Entry] = Bounded(self._MOST)
        self._now = datetime.now(UTC)

    async def look_at(self, lines: Sequence[Post]) -> None:
        """Reads what these lines are decided on; call it before each block."""
        users = {credit.user_id for credit in lines if self._accounts.get(credit.user_id) is None}
        async with self._database.transaction() as connection:
            self._now = await queries.read_clock(connection)
            for account in await queries.read_accounts(connection, self._tenant, users):
                self._accounts.keep(account.user_id, account)
            references = {(credit.user_id, credit.reference) for credit in lines}
            for entry in await queries.read_credits(connection, self._tenant, references):
                self._entries.keep((entry.user_id, entry.reference), entry)

    def outcome_of(self, credit: Post) -> Settled:
        account = self._accounts.get(credit.user_id)
        if account is None and self._open_accounts:
            account = Account(self._tenant, credit.user_id)
        known = self._entries.get((credit.user_id, credit.reference))
        decision = decide(credit, Found(account, entry=known), self._now)
        if decision.account is not None and decision.entry is not None:
            self._accounts.keep(credit.user_id, decision.account)
            self._entries.keep((credit.user_id, credit.reference), decision.entry)
        return Settled(decision.outcome, decision.repeated, decision.account)


class AccountService:
    """One in a process. A writing use case returns when its effect is durable."""

    def __init__(self, database: Database, reports: Reports, ledger: Ledger, crediting: Crediting) -> None:
        self._database = database
        self._crediting = crediting
        self._reports = reports
        self._ledger = ledger

    async def open_account(self, tenant: str, user_id: str, *, client_id: str) -> tuple[Balance, bool]:
        """The account, and whether it was opened now."""
        async with self._database.transaction() as connection:
            opened = await queries.open_account(connection, tenant, user_id)
            balance = await queries.read_balance(connection, tenant, user_id)
            if opened:
                now = await queries.read_clock(connection)
                act = Act(tenant, client_id, "account_opened", user_id, after={"opened_at": iso(now)})
                await note(connection, acts, act, now)
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

    def begin_import(self, caller: Caller) -> CreditList:
        """An import of credits that begins with the present request."""
        return self._crediting.begin(caller)

    async def open_accounts(self, tenant: str, user_ids: Iterable[str]) -> None:
        """Opens those that are missing."""
        async with self._database.transaction() as connection:
            await queries.open_accounts(connection, tenant, sorted(user_ids))

    async def welcome(self, tenant: str, users: Sequence[SandboxUser]) -> None:
        """Opens the accounts of a sandbox's users and gives them their points, once in each round.

        Raises:
            Unavailable: not all of it is written; call it again.
        """
        if users:
            await self.open_accounts(tenant, [user.user_id for user in users])
        given = {(user.user_id, _STARTING_POINTS): user.points for user in users if user.points}
        async with self._database.transaction() as connection:
            present = await queries.read_credits(connection, tenant, given.keys())
        for user_id, reference in given.keys() - {(entry.user_id, entry.reference) for entry in present}:
            command = Post(tenant, user_id, given[user_id, reference], reference, "starting points of the sandbox")
            # Closed accounts refuse it, and stay as they are.
            await self._ledger.carry_out(Order(command, lambda _: Answer(_DONE, b"")))

    def rehearsal(self, tenant: str, *, open_accounts: bool) -> Rehearsal:
        """For an import that changes nothing."""
        return Rehearsal(self._database, tenant, open_accounts=open_accounts)

    async def balance_of(self, tenant: str, user_id: str) -> Balance:
        """Raises AccountNotFound."""
        balance = (await self.balances_of(tenant, [user_id])).get(user_id)
        if balance is None:
            raise AccountNotFound
        return balance

    async def balances_of(self, tenant: str, user_ids: Sequence[str]) -> dict[str, Balance]:
        """The balances by user; those without an account are left out."""
        found = await queries.read_balances(self._database, tenant, user_ids)
        for user_id in [user_id for user_id, balance in found.items() if balance.unreleased]:
            # Each in a transaction of its own: while it waits for one account's writers, it locks no other.
            async with self._database.transaction() as connection:
                certain = await queries.read_balance(connection, tenant, user_id)
            # An account does not go again.
            found[user_id] = certain or found[user_id]
        return found

    async def balance_at(self, caller: Caller, user_id: str, at: datetime) -> Balance:
        """The balance at a past instant, all of its millisecond included; the same answer whenever it is asked.

        Raises:
            InstantInTheFuture, TooManyReports: as they say.
            AccountNotFound
        """
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        async with self._reports.transaction(caller.tenant, caller.client_id) as connection:
            now = await queries.read_clock(connection)
            if at > now:
                raise InstantInTheFuture
            until = at + timedelta(milliseconds=1)
            if now - at < _STILL_WRITTEN:
                while now < until:
                    now = await queries.read_clock(connection)
                await queries.wait_for_writers(connection, caller.tenant, user_id)
            account = await queries.read_balance_at(connection, caller.tenant, user_id, until)
        if account is None:
            raise AccountNotFound
        return Balance(account, at)

    async def close_account(self, caller: Caller, user_id: str, reason: str, *, tells_audit: bool) -> ClosedAccount:
        """Closes the account for good; again: how it stands.

        Args:
            tells_audit: whether the ledger tells the audit. The line with all commands closes the account, so this
                notes the act right after it. If the process ends in between, the caller gets no answer, and repeats the
                call; the repeat notes the act.

        Raises:
            AccountNotFound
        """

        def shape(settled: Settled) -> Answer:
            if isinstance(settled.outcome, Refusal):
                return Answer.of_refusal(settled.outcome)
            return Answer(_REPEATED if settled.repeated else _DONE, b"")

        command = Close(caller.tenant, user_id, reason)
        status = (await self._ledger.carry_out(Order.by(caller, command, shape))).status
        if status not in {_DONE, _REPEATED}:
            raise AccountNotFound
        async with self._database.transaction() as connection:
            found = await queries.read_balance_and_lapsed(connection, caller.tenant, user_id)
            if found is None:
                raise AccountNotFound
            account, lapsed = found[0].account, found[1]
            if tells_audit:
                closed = {"closed_at": None if account.closed_at is None else iso(account.closed_at)}
                before = {"closed_at": None} if status == _DONE else closed
                act = Act(
                    caller.tenant, caller.client_id, "account_closed", user_id, before, closed, {"lapsed": lapsed}
                )
                await note(connection, acts, act, await queries.read_clock(connection))
        return ClosedAccount(user_id, account.held > 0, lapsed)

    async def statement_of(
        self, tenant: str, user_id: str, *, reader: str, cursor: str | None, limit: int
    ) -> Page[Entry]:
        """Entries, newest first.

        Args:
            reader: whose reports under way this one is counted among.

        Raises:
            InvalidCursor: of another list.
            AccountNotFound
        """
        pages = queries.ENTRIES.of(tenant, user_id)
        before = pages.place(cursor)
        async with self._reports.transaction(tenant, reader, may_be_old=True) as connection:
            # Not its balance: where that is not certain, it locks, and a standby locks nothing.
            if not await queries.read_accounts(connection, tenant, [user_id]):
                raise AccountNotFound
            found = await queries.read_entries(connection, tenant, user_id, before=before, limit=limit + 1)
        return pages.cut(found, limit, lambda entry: queries.EntryPlace(entry.number))
