"""One run: the cluster, the platform on it, the load, the faults one after the other, and the last look."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local_platform.commands import CommandFailed, commands
from local_platform.console import Terminal
from local_platform.processes import Supervisor
from local_platform.services import ISSUER, LEDGER, ONBOARDING
from local_platform.state_directory import StateDirectory

from deploy.scale.addresses import Addresses, free_addresses
from deploy.scale.auditing import Lost, find_differences, find_lost
from deploy.scale.cluster import Cluster
from deploy.scale.etcd import etcd
from deploy.scale.faults import Fault
from deploy.scale.haproxy import haproxy
from deploy.scale.load import Load, Tally, credentials
from deploy.scale.replicas import Replicas
from deploy.scale.report import Chapter

#: What ends a run.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: How long it goes on in peace before each fault, and after the last.
PEACE_SECONDS = 5.0
#: Every second, while the load runs: requests a second, refusals and calls without an answer so far.
Progress = Callable[[int, int, int], None]


@dataclass
class Outcome:
    """All that a run has shown; `faults` are of the platform, in words."""

    chapters: list[Chapter] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    lost: list[Lost] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class World:
    """What is running."""

    addresses: Addresses
    cluster: Cluster
    replicas: Replicas
    #: What the supervisor has said: a program has died that nobody has killed.
    deaths: list[str]


@asynccontextmanager
async def running(directory: Path, terminal: Terminal) -> AsyncIterator[World]:
    """The cluster and the platform, until the block ends."""
    addresses, deaths = free_addresses(), list[str]()
    state = StateDirectory(directory)
    state.prepare()

    def complain(what: str) -> None:
        deaths.append(what)
        terminal.complain(what)

    supervisor = Supervisor(complain)
    cluster = Cluster(addresses, directory / "nodes", directory / "logs")
    replicas = Replicas(addresses, state, supervisor)
    try:
        with terminal.doing("etcd, and three nodes of PostgreSQL with Patroni"):
            await supervisor.start(etcd(addresses, directory / "etcd", state.log("etcd")))
            await cluster.start()
            await supervisor.start(haproxy(addresses, directory / "haproxy.cfg", state.log("haproxy")))
        with terminal.doing("A role and a database for each service, and migrations"):
            await replicas.make_databases(cluster.superuser_url)
        with terminal.doing("Two processes of each service, the gateway, tenants and clients"):
            await replicas.start()
        supervisor.settled()
        yield World(addresses, cluster, replicas, deaths)
    finally:
        # Nobody stops the stopping, however often Ctrl-C is pressed.
        for wanted in STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(wanted, lambda: None)
        with terminal.doing("Stopping everything"):
            await cluster.stop()
            await supervisor.stop()


async def play(world: World, faults: Sequence[Fault], terminal: Terminal, progress: Progress) -> Outcome:
    """The load with these faults, and the last look.

    Raises:
        ExceptionGroup: of NotWell, Refused, WrongAnswer, as they say.
    """
    demo = world.replicas.demonstration.demo
    port = world.addresses.platform.gateway
    vendor, platform = (credentials(demo.client(role).auth) for role in ("vendor", "platform"))
    load = Load(port, vendor, platform)
    outcome = Outcome(tally=load.tally)
    await load.open_accounts()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run())
        showing = tasks.create_task(_show(load.tally, progress))
        await _in_peace(load)
        for fault in faults:
            begun = time.monotonic()
            with terminal.doing(f"Now {fault.what}"):
                await fault.play(world.cluster, terminal.say)
                await load.until_acknowledged()
            await _in_peace(load)
            outcome.chapters.append(Chapter(fault.what, begun, time.monotonic()))
        load.stop()
        showing.cancel()
    redemptions = load.tally.redemptions
    with terminal.doing(f"The last look: {len(redemptions):,} redemptions, balances, verify"):
        outcome.lost = await find_lost(port, vendor, redemptions)
        outcome.faults = [one.what for one in outcome.lost]
        outcome.faults += await find_differences(port, platform, redemptions)
        outcome.faults += await _verify(world.replicas)
    outcome.faults += world.deaths
    return outcome


async def _in_peace(load: Load) -> None:
    await load.until_acknowledged()
    await asyncio.sleep(PEACE_SECONDS)


async def _show(tally: Tally, progress: Progress) -> None:
    before = 0
    while True:
        now = len(tally.acknowledged)
        progress(now - before, len(tally.refused), len(tally.unanswered))
        before = now
        await asyncio.sleep(1)


async def _verify(replicas: Replicas) -> list[str]:
    """What the services' own recomputation finds."""
    found = []
    async with commands(replicas.environment()) as running_commands:
        for service in (LEDGER, ISSUER, ONBOARDING):
            try:
                await running_commands.run(service.package, "verify")
            except CommandFailed as error:
                found.append(str(error))
    return found
