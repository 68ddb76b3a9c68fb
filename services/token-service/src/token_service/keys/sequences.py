"""Numbers for new tokens, drawn from the database in blocks, so that no two processes use the same one.

A process loses its unused numbers when it ends: thousands out of a million million.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from shared.bounded import Bounded
from shared.db import Database
from shared.errors import Unavailable

from token_service.keys import store
from token_service.keys.material import TokenKey
from token_service.keys.ring import KeyRing

_BLOCK: Final = 1000
_AHEAD: Final = 20
_TENANTS: Final = 10_000


@dataclass(slots=True)
class _Block:
    key: TokenKey
    next: int
    end: int


class Sequences:
    """One a process."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring
        self._blocks: Bounded[str, _Block] = Bounded(_TENANTS)
        self._drawing = asyncio.Lock()

    async def take(self, tenant: str, count: int) -> tuple[TokenKey, range]:
        """The present key, and `count` numbers under it for this caller alone."""
        key = await self._ring.signing_key(tenant)
        taken = self._from_block(tenant, key, count)
        if taken is None:
            async with self._drawing:
                taken = self._from_block(tenant, key, count)
                if taken is None:
                    await self._draw(tenant, key, count)
                    taken = self._from_block(tenant, key, count)
        if taken is None:
            raise LookupError("numbers that were just drawn are not there")
        return key, taken

    def _from_block(self, tenant: str, key: TokenKey, count: int) -> range | None:
        block = self._blocks.get(tenant)
        if block is None or block.key is not key or block.end - block.next < count:
            return None
        first = block.next
        block.next += count
        return range(first, block.next)

    async def _draw(self, tenant: str, key: TokenKey, count: int) -> None:
        # A caller that needs many numbers, such as an import, will need more.
        size = max(_BLOCK, count * _AHEAD if count > 1 else count)
        async with self._database.transaction() as connection:
            first = await store.draw(connection, tenant, key.number, size)
        if first is None and await self._ring.leave_if_foreign(tenant, key.number):
            raise Unavailable("Keys are being changed; come again in some seconds.", log=f"keys of {tenant} change")
        if first is None:
            raise Unavailable(log=f"key {tenant}/{key.number} has no numbers left: rotate it")
        block = self._blocks.get(tenant)
        if block is not None and block.key is key and block.end == first:
            # No other process drew in between: use the rest first.
            block.end = first + size
        else:
            self._blocks.keep(tenant, _Block(key, first, first + size))
