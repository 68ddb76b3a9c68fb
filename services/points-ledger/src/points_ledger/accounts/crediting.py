"""Books the credits of an import block by block: many lines in one transaction, without a command for each.

    lock accounts → decide one by one → COPY the entries → write accounts and events → COMMIT

The rules are those of `domain`. A block takes its references for new and looks for no entries: when one is not, the
unique index of entries refuses the block. Then, and when a line is refused, its lines go one by one through the line of
imports, which looks at everything.
"""

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import asyncpg
from shared.callers import Caller
from shared.db import Database
from shared.errors import Refusal
from shared.events.domain import NewEvent
from shared.group_commit import GroupCommit
from shared.idempotency import Answer
from shared.request_frame import current_request

from points_ledger import store
from points_ledger.accounts import credits as queries
from points_ledger.domain.accounts import Account, Entry, InvalidUser, Post
from points_ledger.domain.decisions import Found, decide
from points_ledger.events import entry_made
from points_ledger.holds.releasing import Releasing
from points_ledger.ledger import Ledger, Order, Settled, Shape

#: Blocks of all imports that may wait.
_WAITING: Final = 256


class Credit(NamedTuple):
    """A line of an import."""

    user_id: str
    points: int
    reference: str
    reason: str


class _Block(NamedTuple):
    """Lines of one import, and who makes their entries."""

    tenant: str
    asked: Sequence[Credit]
    client_id: str
    subject: str | None
    request_id: str | None


class _NotPlain(Exception):
    """A line of the block needs a closer look."""


class Crediting:
    """One in a process.

    Args:
        imports: the line of commands for lines that need a closer look, with a single lane so that it keeps the order.
    """

    def __init__(self, database: Database, releasing: Releasing, imports: Ledger) -> None:
        self._database = database
        self._releasing = releasing
        self._imports = imports
        self._line = GroupCommit[_Block, list[Settled]](
            self._write,
            name="import-blocks",
            lanes=1,
            batch_size=1,
            line_length=_WAITING,
            tenant_of=attrgetter("tenant"),
        )

    async def book(self, caller: Caller, asked: Sequence[Credit], shape: Shape) -> list[Answer | Refusal]:
        """What became of each; two of one account are booked in their order.

        The next block of the same import must wait for this one.
        """
        request = current_request.get()
        request_id = None if request is None else request.request_id
        # A block that waited for a slice of expired holds would keep all imports waiting.
        if not self._releasing.is_busy:
            try:
                block = _Block(caller.tenant, asked, caller.client_id, caller.subject, request_id)
                return [shape(settled) for settled in await self._line.submit(block)]
            except _NotPlain:
                pass
            except Refusal as refusal:
                return [refusal] * len(asked)
        return list(await asyncio.gather(*(self._look_closely(caller, credit, shape) for credit in asked)))

    async def close(self) -> None:
        """Accepts no more blocks and finishes those that wait."""
        await self._line.close()

    async def _look_closely(self, caller: Caller, credit: Credit, shape: Shape) -> Answer | Refusal:
        try:
            return await self._imports.carry_out(Order.by(caller, _command(caller.tenant, credit), shape))
        except Refusal as refusal:
            return refusal

    async def _write(self, blocks: Sequence[_Block]) -> Sequence[list[Settled] | Exception]:
        (block,) = blocks
        try:
            async with self._database.raw_transaction() as connection:
                booked = await _book(connection, block)
        except asyncpg.UniqueViolationError:
            booked = None
        return [_NotPlain() if booked is None else booked]


async def _book(connection: asyncpg.Connection, block: _Block) -> list[Settled] | None:
    """What became of each credit; None, with nothing written, where one needs a closer look."""
    tenant = block.tenant
    accounts = await queries.lock_accounts(connection, tenant, sorted({credit.user_id for credit in block.asked}))
    now = await store.read_clock(connection)
    maker = (block.client_id or None, block.subject, block.request_id)
    booked: list[Settled] = []
    entries: dict[tuple[str, str], Entry] = {}
    changed: dict[str, Account] = {}
    events: list[tuple[str, NewEvent]] = []
    for credit in block.asked:
        key = (credit.user_id, credit.reference)
        found = Found(accounts.get(credit.user_id), entry=entries.get(key))
        decision = decide(_command(tenant, credit), found, now)
        outcome = decision.outcome
        if decision.account is not None and decision.entry is not None:
            accounts[credit.user_id] = changed[credit.user_id] = decision.account
            outcome = entries[key] = Entry(*decision.entry[:10], *maker)
            event = entry_made(outcome)
            if event is not None:
                events.append((tenant, event))
        elif not decision.repeated and not isinstance(outcome, InvalidUser):
            # Where the reference is known, the answer is another one.
            return None
        booked.append(Settled(outcome, decision.repeated, None))
    if entries:
        await queries.write(connection, tenant, list(changed.values()), list(entries.values()), events)
    return booked


def _command(tenant: str, credit: Credit) -> Post:
    return Post(tenant, credit.user_id, credit.points, credit.reference, credit.reason)
