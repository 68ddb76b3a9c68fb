"""Books the credits of an import block by block: many lines in one transaction, without a command for each.

    lock accounts → look the references up → decide one by one → write all → COMMIT

The rules are those of `domain`, the statements those of the ledger's line of commands. Expired holds need no release: a
credit depends on an account's total alone. A list takes its references for new and looks none of them up, until their
unique index refuses a block or a rule refuses a line; from this block on it looks.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import asyncpg
from shared.callers import Caller
from shared.db import Database
from shared.errors import Refusal, Unexpected
from shared.events.domain import NewEvent
from shared.group_commit import GroupCommit
from shared.request_frame import current_request

from points_ledger import store
from points_ledger.accounts.writing import Maker, write_credits
from points_ledger.domain.accounts import Account, Entry, InvalidUser, Kind, Post
from points_ledger.domain.decisions import Found, decide
from points_ledger.events import entry_made
from points_ledger.orders import LostRace, Settled
from points_ledger.store import AccountKey, EntryKey

#: Blocks of all imports that may wait; each import has two of them at most.
_WAITING: Final = 1024


class _Block(NamedTuple):
    """Lines of one import, and who makes their entries."""

    tenant: str
    asked: Sequence[Post]
    client_id: str
    subject: str | None
    request_id: str | None
    looks_up: bool


class _MayBeKnown(Exception):
    """The references of the block must be looked up."""


class Crediting:
    """Books the blocks of all imports, two at a time. One in a process.

    Args:
        is_distributed: whether the tables are, by tenant: then a block that takes long keeps no other tenant's waiting.
    """

    def __init__(self, database: Database, *, is_distributed: bool) -> None:
        self._database = database
        self._is_distributed = is_distributed
        self._line = GroupCommit[_Block, list[Settled]](
            self._write,
            name="import-blocks",
            lanes=2,
            batch_size=1,
            line_length=_WAITING,
            tenant_of=attrgetter("tenant"),
            is_of_one_tenant=is_distributed,
        )

    def begin(self, caller: Caller) -> "CreditList":
        """An import that begins with the present request."""
        return CreditList(self._line, caller)

    async def close(self) -> None:
        """Accepts no more blocks and finishes those that wait."""
        await self._line.close()

    async def _write(self, blocks: Sequence[_Block]) -> Sequence[list[Settled] | Exception]:
        (block,) = blocks
        try:
            async with self._database.raw_transaction() as connection:
                booked = await _book(connection, block, block.tenant if self._is_distributed else None)
        except asyncpg.UniqueViolationError as error:
            if block.looks_up:
                raise LostRace(log=f"lost a race: {error.constraint_name}") from error
            booked = None
        return [_MayBeKnown() if booked is None else booked]


class CreditList:
    """The lines of one import."""

    def __init__(self, line: GroupCommit[_Block, list[Settled]], caller: Caller) -> None:
        request = current_request.get()
        self._line = line
        self._caller = caller
        self._request_id = None if request is None else request.request_id
        self._looks_up = False

    async def book(self, asked: Sequence[Post]) -> Sequence[Settled | Refusal]:
        """What became of each; two of one account are booked in their order.

        A block that names one of these accounts must wait for this one.
        """
        try:
            return await self._booked(asked)
        except Refusal as refusal:
            return [refusal] * len(asked)
        # A fault that nobody has thought of, which the line has logged; it must not take other lines with it.
        except Exception:
            if len(asked) == 1:
                return [Unexpected()]
        middle = len(asked) // 2
        return [*await self.book(asked[:middle]), *await self.book(asked[middle:])]

    async def _booked(self, asked: Sequence[Post]) -> list[Settled]:
        caller = self._caller
        block = _Block(
            caller.tenant, asked, caller.client_id, caller.subject, self._request_id, looks_up=self._looks_up
        )
        try:
            return await self._line.submit(block)
        except _MayBeKnown:
            self._looks_up = True
            return await self._line.submit(block._replace(looks_up=True))


async def _book(connection: asyncpg.Connection, block: _Block, tenant: str | None) -> list[Settled] | None:
    """What became of each credit; None, with nothing written, where references must be looked up.

    Args:
        tenant: as for the statements of `store`.
    """
    owners = {AccountKey(block.tenant, credit.user_id) for credit in block.asked}
    accounts = {a.user_id: a for a in (await store.lock_accounts(connection, owners, tenant)).values()}
    now = await store.read_clock(connection)
    known: dict[tuple[str, str], Entry] = {}
    if block.looks_up:
        keys = {EntryKey(block.tenant, one.user_id, Kind.CREDIT.value, "", one.reference) for one in block.asked}
        entries = await store.read_entries(connection, keys, tenant)
        known = {(entry.user_id, entry.reference): entry for entry in entries.values()}
    maker = Maker(block.client_id or None, block.subject, block.request_id)
    booked: list[Settled] = []
    changed: dict[str, Account] = {}
    made: list[Entry] = []
    events: list[tuple[str, NewEvent]] = []
    for credit in block.asked:
        owner, key = credit.user_id, (credit.user_id, credit.reference)
        decision = decide(credit, Found(accounts.get(owner), entry=known.get(key)), now)
        outcome = decision.outcome
        if decision.account is not None and decision.entry is not None:
            accounts[owner] = changed[owner] = decision.account
            outcome = known[key] = Entry(*decision.entry[:10], *maker)
            made.append(outcome)
            event = entry_made(outcome)
            if event is not None:
                events.append((block.tenant, event))
        elif decision.repeated:
            # Entries cannot be written again, so their account is: the answer waits until both are durable.
            changed[owner] = accounts[owner]
        elif isinstance(outcome, Refusal) and not isinstance(outcome, InvalidUser) and not block.looks_up:
            # To a known reference the answer is another one.
            return None
        booked.append(Settled(outcome, decision.repeated, None))
    if changed:
        await write_credits(
            connection,
            owner=block.tenant,
            tenant=tenant,
            now=now,
            accounts=changed.values(),
            entries=made,
            maker=maker,
            events=events,
        )
    return booked
