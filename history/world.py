"""Two ledgers on one PostgreSQL, with proxies between all of them: what a run attacks."""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import libfaketime
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import new_database
from platform_testing.processes import PATIENCE_SECONDS, ServiceProcess, environment, onboarding

from history.network import Answer, ClientProxy, DatabaseProxy, Line, Odds
from history.recording import Recorder

PACKAGE = "points_ledger"
TENANT = "history"
VENDORS = ("shop", "kiosk", "hasty")
#: Whose holds last for a second.
HASTY = "hasty"
#: The second ledger's clock is wrong by so much, in seconds. No promise depends on it.
WRONG_CLOCK = "+20"
#: How likely a COMMIT breaks its connection.
LOST_COMMITS = 0.05
#: Waits itself, so that who asks need not.
_IS_FOLLOWED = "SELECT count(*) > 0 FROM pg_stat_replication, pg_sleep(0.05) WHERE sync_state = 'sync'"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers with which each vendor, and the platform, calls."""

    vendors: Mapping[str, Mapping[str, str]]
    platform: Mapping[str, str]


@dataclass(slots=True)
class World:
    """What is running.

    Args:
        postgres: the one that the ledgers write to.
        standby: what it waits for with each COMMIT; `replication` lies between the two.
    """

    postgres: EmbeddedPostgres
    url: str
    ledgers: list[ServiceProcess]
    client_proxies: list[ClientProxy]
    database_proxies: list[DatabaseProxy]
    credentials: Credentials
    standby: EmbeddedPostgres | None = None
    replication: DatabaseProxy | None = None

    @property
    def database_url(self) -> str:
        """Where the ledger's tables are, without a proxy."""
        return f"{self.url.rpartition(':')[0]}:{self.postgres.port}/{PACKAGE}"

    async def fail_over(self) -> None:
        """The standby takes over from a server that is lost with all that it had not passed on."""
        assert self.standby is not None
        assert self.replication is not None
        for proxy in self.database_proxies:
            # Nobody hears of what the old one still does.
            proxy.target = self.standby.port
            proxy.reset()
        self.replication.reset()
        self.postgres.kill()
        connection = await asyncpg.connect(self.standby.url())
        try:
            await connection.execute("SELECT pg_promote()")
        finally:
            await connection.close()
        self.postgres, self.standby = self.standby, None

    async def settle(self) -> None:
        """Ends all that is under way: afterwards nothing that was asked before can happen any more."""
        for proxy in self.client_proxies:
            await proxy.stop()
        for database_proxy in self.database_proxies:
            database_proxy.pass_on()
        for ledger in self.ledgers:
            ledger.kill()
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.to_thread(self.postgres.start)
        for ledger in self.ledgers:
            ledger.launch()
        await asyncio.gather(*(ledger.ready() for ledger in self.ledgers))

    def verify(self) -> list[str]:
        """What the ledger's own recomputation finds."""
        verified = subprocess.run(
            [sys.executable, "-m", PACKAGE, "verify"],
            env={**os.environ, "LEDGER_DATABASE_URL": self.database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        if verified.returncode == 0:
            return []
        return verified.stdout.splitlines() or [verified.stderr]

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, object] | None = None
    ) -> Answer:
        """Directly, until it is answered."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                line = Line(self.ledgers[0].port, headers)
                answer = await line.ask(method, path, body, timeout_seconds=PATIENCE_SECONDS)
                line.close()
                if answer is not None and answer.status < 500:
                    assert answer.status < 300, answer
                    return answer


@asynccontextmanager
async def running(
    chance: random.Random, recorder: Recorder, odds: Odds, *, source: Path | None = None, with_standby: bool = False
) -> AsyncIterator[World]:
    """The world, until the block ends.

    Args:
        source: a directory whose packages the ledgers import before all others.
        with_standby: a second PostgreSQL follows the first, which waits for it with each COMMIT.
    """
    with tempfile.TemporaryDirectory(prefix="points-history-") as name:
        directory = Path(name)
        # Kills of processes lose nothing that the system has been given, and so nothing need reach the disk.
        postgres, standby = (
            EmbeddedPostgres(directory / name, settings={"fsync": "off"}) for name in ("first", "second")
        )
        try:
            await asyncio.to_thread(postgres.start)
            register, keys = FakeRegister(), ServiceKeys()
            with onboarding(register) as onboarding_url:
                url = await asyncio.to_thread(new_database, postgres, PACKAGE)
                settings = environment(PACKAGE, url, onboarding_url, keys, SWEEP_SECONDS="0.5", REQUESTS_PER_CLIENT="0")
                if source is not None:
                    settings["PYTHONPATH"] = str(source)
                credentials = Credentials(
                    {vendor: register.add(TENANT, "points:redeem", vendor_id=vendor) for vendor in VENDORS},
                    register.add(TENANT, "points:admin", "points:read"),
                )
                async with _services(postgres, url, settings, credentials, directory, chance, recorder, odds) as world:
                    if with_standby:
                        await _add_standby(world, standby)
                    try:
                        yield world
                    finally:
                        if world.replication is not None:
                            await world.replication.stop()
        finally:
            for server in (postgres, standby):
                await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _services(
    postgres: EmbeddedPostgres,
    url: str,
    settings: Mapping[str, str],
    credentials: Credentials,
    directory: Path,
    chance: random.Random,
    recorder: Recorder,
    odds: Odds,
) -> AsyncIterator[World]:
    """Two ledgers, and the proxies before and behind them."""
    database_proxies = [DatabaseProxy(postgres.port, chance, LOST_COMMITS) for _ in range(2)]
    ledgers = []
    for number, proxy in enumerate(database_proxies):
        await proxy.start()
        own = {"LEDGER_DATABASE_URL": url.replace(f":{postgres.port}/", f":{proxy.port}/")}
        if number == 1:
            own |= _wrong_clock()
        ledgers.append(ServiceProcess(PACKAGE, {**settings, **own}, directory / f"ledger-{number}.log"))
    client_proxies = [ClientProxy(ledger.port, chance, odds, recorder.copied) for ledger in ledgers]
    try:
        for ledger in ledgers:
            ledger.launch()
        await asyncio.gather(*(ledger.ready() for ledger in ledgers))
        for client_proxy, other in zip(client_proxies, reversed(client_proxies), strict=True):
            await client_proxy.start()
            client_proxy.other = other
        yield World(postgres, url, ledgers, client_proxies, database_proxies, credentials)
    finally:
        for ledger in ledgers:
            ledger.kill()
        for started in (*client_proxies, *database_proxies):
            await started.stop()


async def _add_standby(world: World, standby: EmbeddedPostgres) -> None:
    world.replication = DatabaseProxy(world.postgres.port)
    await world.replication.start()
    await asyncio.to_thread(standby.follow, world.postgres, port=world.replication.port)
    await asyncio.to_thread(standby.start)
    connection = await asyncpg.connect(world.postgres.url())
    try:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await connection.fetchval(_IS_FOLLOWED):
                continue
    finally:
        await connection.close()
    world.standby = standby


def _wrong_clock() -> dict[str, str]:
    """Settings under which a process believes that it is another time. Pauses and patience stay as they are."""
    library = next((Path(libfaketime.__file__).parent / "vendor").glob("**/libfaketime.so.1"))
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": WRONG_CLOCK,
        "DONT_FAKE_MONOTONIC": "1",
    }
