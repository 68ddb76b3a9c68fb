"""The one writer of points: commands wait in line, and a lane carries out all waiting ones in one transaction.

    submit → line → BEGIN, lock accounts → read → decide one by one → write all, COMMIT → answer each

Each arrow to the database is one round trip.

`domain` has the rules, `store` the statements, `batches` the steps of one transaction; this module has the line.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import asyncpg
from shared.db import Database
from shared.group_commit import GroupCommit
from shared.idempotency import Answer

from points_ledger import batches, store
from points_ledger.domain.decisions import Command
from points_ledger.holds.releasing import Releasing
from points_ledger.orders import LostRace, NotSettled, Order, rows_of
from points_ledger.store import AccountKey

#: How long a command waits for its account to be tidied up.
_PATIENCE_SECONDS: Final = 10.0


class Ledger:
    """Carries out commands. One in a process.

    Args:
        is_distributed: whether the tables are, by tenant: then no two tenants share a transaction.
    """

    def __init__(
        self,
        database: Database,
        releasing: Releasing,
        *,
        lanes: int = 2,
        batch_size: int = 256,
        is_distributed: bool = False,
    ) -> None:
        self._database = database
        self._is_distributed = is_distributed
        self._line = GroupCommit[Order, Answer](
            self._write,
            name="ledger",
            lanes=lanes,
            batch_size=batch_size,
            tenant_of=_tenant_of,
            is_of_one_tenant=is_distributed,
        )
        self._releasing = releasing

    async def carry_out(self, order: Order) -> Answer:
        """Returns when the command's effect, or its refusal, is durably written.

        Raises:
            IdempotencyKeyReused: the key came with another request before.
            Unavailable: nothing was committed. As OutcomeUnknown: the database's answer to COMMIT was lost.
        """
        deadline = 0.0
        while True:
            if self._releasing.is_busy:
                deadline = deadline or time.monotonic() + _PATIENCE_SECONDS
                await self._until_nothing_is_in_the_way(order.command, deadline)
            try:
                return await self._line.submit(order)
            except NotSettled as error:
                deadline = deadline or time.monotonic() + _PATIENCE_SECONDS
                if time.monotonic() > deadline:
                    raise
                await self._releasing.settle(rows_of(order).account, deadline, keep_out=error.are_too_many)

    async def _until_nothing_is_in_the_way(self, command: Command, deadline: float) -> None:
        """A command whose account is locked would keep its whole batch waiting."""
        account = AccountKey(command.tenant, command.user_id)
        while (end := self._releasing.in_the_way(account)) is not None:
            await asyncio.wait({end}, timeout=max(0.0, deadline - time.monotonic()))
            if not end.done():
                raise NotSettled(are_too_many=True, log="expired holds are being released")

    async def close(self) -> None:
        """Accepts no more commands and finishes those that wait."""
        await self._line.close()

    async def _write(self, orders: Sequence[Order]) -> Sequence[Answer | Exception]:
        try:
            tenant = orders[0].command.tenant if self._is_distributed else None
            rows = [rows_of(order) for order in orders]
            users = {each.account for each in rows}
            async with self._database.raw_batch(*store.locking(users, tenant)) as transaction:
                batch = await batches.gather(transaction, users, tenant, orders, rows)
                results = [batch.carry_out(*one) for one in zip(orders, rows, strict=True)]
                await batches.keep(transaction, batch)
        except asyncpg.UniqueViolationError as error:
            raise LostRace(log=f"lost a race: {error.constraint_name}") from error
        return results


def _tenant_of(order: Order) -> str:
    return order.command.tenant
