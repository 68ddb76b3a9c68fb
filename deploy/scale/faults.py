"""What happens to the nodes. Each fault returns when the cluster is whole again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deploy.scale.cluster import Cluster

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fault:
    """One of them; `play` does it to a cluster and says what it sees."""

    name: str
    what: str
    play: Callable[[Cluster, Say], Awaitable[None]]


async def _kill_postmaster(cluster: Cluster, say: Say) -> None:
    leader = await cluster.leader()
    say(f"kill -9 of the postmaster of {leader.name}, which leads")
    await asyncio.to_thread(leader.kill_postmaster)
    await cluster.until_well()


async def _kill_node(cluster: Cluster, say: Say) -> None:
    leader = await cluster.leader()
    say(f"kill -9 of Patroni and PostgreSQL of {leader.name}, which leads")
    await asyncio.to_thread(leader.kill)
    say(f"{(await cluster.until_another_leads(leader)).name} leads instead; {leader.name} comes back")
    leader.start()
    await cluster.until_well()


async def _freeze_node(cluster: Cluster, say: Say) -> None:
    leader = await cluster.leader()
    say(f"SIGSTOP of all of {leader.name}, which leads")
    leader.freeze()
    try:
        say(f"{(await cluster.until_another_leads(leader)).name} leads instead; SIGCONT of {leader.name}")
    finally:
        leader.thaw()
    await cluster.until_well()


async def _switch_over(cluster: Cluster, say: Say) -> None:
    leader, standby = await cluster.leader(), await cluster.synchronous_standby()
    say(f"{leader.name} hands the lead to {standby.name}")
    await cluster.switch_over(leader, standby)
    await cluster.until_well()


async def _kill_standby(cluster: Cluster, say: Say) -> None:
    standby = await cluster.synchronous_standby()
    say(f"kill -9 of Patroni and PostgreSQL of {standby.name}, which confirms each COMMIT")
    await asyncio.to_thread(standby.kill)
    say(f"{(await cluster.until_another_is_synchronous(standby)).name} confirms instead; {standby.name} comes back")
    standby.start()
    await cluster.until_well()


FAULTS = (
    Fault("postmaster", "the leader's postmaster is killed", _kill_postmaster),
    Fault("node", "the leader's node is killed", _kill_node),
    Fault("freeze", "the leader's node is frozen", _freeze_node),
    Fault("switchover", "the lead is handed over", _switch_over),
    Fault("standby", "the synchronous standby is killed", _kill_standby),
)
