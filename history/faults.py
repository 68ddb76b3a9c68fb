"""What happens to the processes and to the lines between them, one fault after the other."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import psutil

from history.recording import Recorder
from history.world import PACKAGE, World


class Faults:
    """Each kind comes once before any comes again, and a short black hole with a reset after each.

    That one alone meets a COMMIT on its way, which takes no longer than a moment.
    """

    def __init__(self, world: World, recorder: Recorder, chance: random.Random) -> None:
        self._world, self._recorder, self._chance = world, recorder, chance
        self._kinds: tuple[Callable[[], Awaitable[None]], ...] = (
            self._kill_ledger,
            self._kill_database,
            self._freeze_ledger,
            self._freeze_database,
            self._swallow,
            self._reset,
            self._slow,
            self._reset_clients,
        )

    async def run(self) -> None:
        """Until it is cancelled. Call `heal` then."""
        for act in self._deck():
            await asyncio.sleep(self._chance.uniform(0.5, 1.5))
            await act()
            for _ in range(self._chance.randint(1, 3)):
                await self._while(0.1, 0.4)
                await self._swallow_and_reset()
            if self._world.standby is not None:
                await self._fail_over()

    async def heal(self) -> None:
        """Everything runs again, and can be reached."""
        for proxy in self._world.database_proxies:
            proxy.pass_on()
        self._thaw_database()
        for ledger in self._world.ledgers:
            await ledger.keep_up()

    def _deck(self) -> Iterator[Callable[[], Awaitable[None]]]:
        while True:
            yield from self._chance.sample(self._kinds, len(self._kinds))

    def _note(self, what: str) -> None:
        self._recorder.fault(what)

    async def _while(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most))

    async def _kill_ledger(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"kill -9 of ledger {number}")
        self._world.ledgers[number].kill()
        await self._world.ledgers[number].keep_up()
        self._note(f"ledger {number} is up again")

    async def _kill_database(self) -> None:
        self._note("kill -9 of PostgreSQL")
        self._world.postgres.kill()
        await asyncio.to_thread(self._world.postgres.start)
        self._note("PostgreSQL is up again")

    async def _freeze_ledger(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"SIGSTOP of ledger {number}")
        self._world.ledgers[number].freeze()
        try:
            await self._while(0.3, 2.5)
        finally:
            self._world.ledgers[number].thaw()
            self._note(f"SIGCONT of ledger {number}")

    async def _freeze_database(self) -> None:
        self._note("SIGSTOP of PostgreSQL")
        for process in self._of_database():
            process.suspend()
        try:
            await self._while(0.3, 2.0)
        finally:
            self._thaw_database()
            self._note("SIGCONT of PostgreSQL")

    async def _swallow(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"black hole between ledger {number} and PostgreSQL")
        self._world.database_proxies[number].swallow()
        try:
            await self._while(0.3, 2.5)
        finally:
            self._world.database_proxies[number].pass_on()
            self._note(f"ledger {number} reaches PostgreSQL again")

    async def _swallow_and_reset(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"black hole between ledger {number} and PostgreSQL, and then a reset")
        proxy = self._world.database_proxies[number]
        proxy.swallow()
        try:
            await self._while(0.02, 0.5)
            proxy.reset()
        finally:
            proxy.pass_on()

    async def _reset(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"reset of all connections between ledger {number} and PostgreSQL")
        self._world.database_proxies[number].reset()

    async def _reset_clients(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"reset of all connections between clients and ledger {number}")
        self._world.client_proxies[number].reset()

    async def _slow(self) -> None:
        number = self._chance.randrange(2)
        self._note(f"PostgreSQL is far from ledger {number}")
        proxy = self._world.database_proxies[number]
        proxy.delay_seconds = self._chance.uniform(0.01, 0.06)
        try:
            await self._while(0.5, 2.0)
        finally:
            proxy.delay_seconds = 0.0

    async def _fail_over(self) -> None:
        """The standby is cut off, so that no COMMIT returns, and takes over.

        Those that wait are cut short before: what they have written can be seen, and is lost with the first server.
        """
        replication = self._world.replication
        assert replication is not None
        self._note("the standby is cut off")
        replication.swallow()
        connection = await asyncpg.connect(self._world.postgres.url())
        try:
            for _ in range(8):
                await self._while(0.2, 0.6)
                self._note("all transactions that wait for the standby are cut short")
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", PACKAGE
                )
        finally:
            await connection.close()
        self._note("kill -9 of PostgreSQL, and the standby takes over")
        await self._world.fail_over()

    def _of_database(self) -> list[psutil.Process]:
        process = self._world.postgres.process
        if process is None:
            return []
        try:
            server = psutil.Process(process.pid)
            return [server, *server.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _thaw_database(self) -> None:
        for process in self._of_database():
            try:
                process.resume()
            except psutil.NoSuchProcess:
                continue
