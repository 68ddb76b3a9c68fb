"""The opened keys of all tenants in memory, so that reading a token needs no database.

The ring reads changes every few seconds and so knows another process's new key before it signs (`signs_from`). If it
could not read them for longer, an unknown signature no longer proves a forgery; then it asks the database, or answers
`Unavailable`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from shared.acts import Act, note
from shared.db import Database
from shared.errors import Unavailable
from shared.sealing import CannotOpen, Sealer
from shared.times import iso
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.clock import DatabaseClock
from token_service.keys import store
from token_service.keys.material import TokenKey, new_secret
from token_service.keys.store import KeyRow
from token_service.tables import acts, context_of_key
from token_service.tokens.format import Plain

#: The longest time between the beginning of a transaction and its visibility.
_OVERLAP_SECONDS: Final = 60.0
#: A new key signs after this at the earliest, and a process that has not read the keys for so long asks the database.
NOTICE: Final = timedelta(seconds=5)
_log = structlog.get_logger("keys")


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """A tenant's keys that are not retired, newest first, since it made most tokens in use."""

    keys: tuple[TokenKey, ...]
    rows: tuple[KeyRow, ...]

    def read(self, block: bytes) -> tuple[int, Plain] | None:
        for key in self.keys:
            plain = key.read(block)
            if plain is not None:
                return key.number, plain
        return None


class KeyRing:
    """One a process.

    Args:
        clock: of the database, which says whether a key's time to sign has come.
        ahead: how long every process knows a new key before it signs.
        seconds: a clock that is never set; handed in by tests.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: DatabaseClock,
        *,
        ahead: timedelta,
        notice: timedelta = NOTICE,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._ahead = ahead
        #: In so short a time every process has read the keys, in an emergency.
        self.notice = notice
        self._clock = clock
        self._seconds = seconds
        self._tenants: dict[str, TenantKeys] = {}
        self._read_at = seconds()
        self._refreshing = asyncio.Lock()

    async def read_token(self, tenant: str, block: bytes) -> tuple[int, Plain] | None:
        """The number of the key that made these 16 bytes, and their content; None for a forgery.

        Raises:
            Unavailable: the keys in memory are too old to decide.
        """
        found = self._tenants.get(tenant) or await self._load(tenant)
        read = found.read(block)
        if read is None and self._is_stale():
            await self.refresh()
            read = self._tenants.get(tenant, found).read(block)
        return read

    async def identify(self, tenants: Iterable[str], block: bytes) -> tuple[str, int, Plain] | None:
        """The same without a known tenant: tries the keys of all these tenants."""
        for tenant in tenants:
            read = await self.read_token(tenant, block)
            if read is not None:
                return tenant, *read
        return None

    def key(self, tenant: str, number: int) -> TokenKey | None:
        """A key that is at hand."""
        found = self._tenants.get(tenant)
        return next((key for key in found.keys if key.number == number), None) if found is not None else None

    async def signing_key(self, tenant: str) -> TokenKey:
        """The newest key that may sign. A tenant's first one is made here and signs at once."""
        found = self._tenants.get(tenant) or await self._load(tenant)
        if not found.keys:
            found = await self._add_first(tenant)
        if len(found.keys) == 1:
            return found.keys[0]
        now = self._clock.now()
        for key, row in zip(found.keys, found.rows, strict=True):
            if now is not None and row.signs_from <= now:
                return key
        return found.keys[-1]

    async def rotate(self, tenant: str, *, ahead: timedelta | None = None) -> KeyRow:
        """Adds a key that signs once every process knows it; the former goes on verifying.

        Args:
            ahead: when it signs, from now on.
        """
        while True:
            before = self._tenants.get(tenant)
            async with self._database.transaction() as connection:
                rows = await store.read_of(connection, tenant)
                number = rows[-1].number + 1 if rows else 1
                added = await self._insert(connection, tenant, number, self._ahead if ahead is None else ahead)
                rows = await store.read_of(connection, tenant)
                now = await store.read_clock(connection)
                self._clock.hear(now)
                if added is not None:
                    await note(connection, acts, _rotation(added, number - 1), now)
            await self._keep_or_load(tenant, rows, before)
            if added is not None:
                return added

    async def leave_if_foreign(self, tenant: str, number: int) -> bool:
        """Makes a new key where this one was made in another database; whether it was.

        A restored database knows less than was issued since, and would give its numbers out a second time.
        """
        before = self._tenants.get(tenant)
        async with self._database.transaction() as connection:
            origin = await store.read_origin(connection)
            rows = await store.read_of(connection, tenant)
            if any((row.number, row.origin) == (number, origin) for row in rows):
                return False
            # The key itself is missing where it was made after the backup.
            newest = rows[-1] if rows else None
            if newest is None or newest.origin != origin:
                _log.error("the database is another one, as after a restored backup: keys change", tenant=tenant)
                await self._insert(connection, tenant, newest.number + 1 if newest else 1, self.notice)
                rows = await store.read_of(connection, tenant)
            self._clock.hear(await store.read_clock(connection))
        await self._keep_or_load(tenant, rows, before)
        return True

    async def add_successor(self, row: KeyRow) -> None:
        """Adds the successor of `row`, unless another process did."""
        before = self._tenants.get(row.tenant)
        async with self._database.transaction() as connection:
            await self._insert(connection, row.tenant, row.number + 1, self._ahead)
            rows = await store.read_of(connection, row.tenant)
        await self._keep_or_load(row.tenant, rows, before)

    async def refresh(self) -> None:
        """Reads the changes of other processes.

        Raises:
            Unavailable: the database cannot be asked.
        """
        async with self._refreshing:
            began = self._seconds()
            age = timedelta(seconds=began - self._read_at + _OVERLAP_SECONDS)
            before = dict(self._tenants)
            async with self._database.transaction() as connection:
                self._clock.hear(await store.read_clock(connection))
                changed = await store.tenants_changed_within(connection, age)
                rows = {tenant: await store.read_of(connection, tenant) for tenant in changed if tenant in before}
            for tenant, of_tenant in rows.items():
                await self._keep_or_load(tenant, of_tenant, before[tenant])
            self._read_at = began

    async def _load(self, tenant: str) -> TenantKeys:
        while True:
            before = self._tenants.get(tenant)
            async with self._database.transaction() as connection:
                self._clock.hear(await store.read_clock(connection))
                rows = await store.read_of(connection, tenant)
            if self._tenants.get(tenant) is before:
                return self._keep(tenant, rows)

    async def _add_first(self, tenant: str) -> TenantKeys:
        before = self._tenants.get(tenant)
        async with self._database.transaction() as connection:
            # If another process makes number 1 first, its key is used.
            await self._insert(connection, tenant, 1, timedelta(0))
            rows = await store.read_of(connection, tenant)
        return await self._keep_or_load(tenant, rows, before)

    async def _insert(self, connection: AsyncConnection, tenant: str, number: int, ahead: timedelta) -> KeyRow | None:
        sealed = self._sealer.seal(new_secret(), context_of_key(tenant, number))
        return await store.insert(connection, tenant, number, sealed, ahead)

    async def _keep_or_load(self, tenant: str, rows: Sequence[KeyRow], before: TenantKeys | None) -> TenantKeys:
        """Keeps `rows`; reads anew if others were kept since `before` was, which may be newer than these."""
        return self._keep(tenant, rows) if self._tenants.get(tenant) is before else await self._load(tenant)

    def _keep(self, tenant: str, rows: Sequence[KeyRow]) -> TenantKeys:
        live = tuple(row for row in reversed(rows) if row.retired_at is None)
        known = self._tenants.get(tenant)
        # By what is stored, not by the number alone: in a restored database the same number may be another key.
        opened = {} if known is None else dict(zip((row.sealed for row in known.rows), known.keys, strict=True))
        found = TenantKeys(tuple(opened.get(row.sealed) or self._open(row) for row in live), live)
        # A tenant without a key is not remembered, since another process may make its first one at any moment.
        if live:
            self._tenants[tenant] = found
        return found

    def _open(self, row: KeyRow) -> TokenKey:
        try:
            return TokenKey(row.number, self._sealer.open(row.sealed, context_of_key(row.tenant, row.number)))
        except CannotOpen as error:
            _log.error("key does not open", tenant=row.tenant, number=row.number, why=str(error))
            raise Unavailable(log=f"key {row.tenant}/{row.number}: {error}") from None

    def _is_stale(self) -> bool:
        return self._seconds() - self._read_at > self.notice.total_seconds()


def _rotation(added: KeyRow, former: int) -> Act:
    """The act of somebody with a shell.

    Args:
        former: the number of the key before; 0 where there was none.
    """
    before = {"newest_key": former} if former else None
    after = {"newest_key": added.number, "signs_from": iso(added.signs_from)}
    return Act(added.tenant, None, "token_keys_rotated", str(added.number), before, after)
