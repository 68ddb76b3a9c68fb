"""Three nodes that are one database: who leads, and whether all is well."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from local_platform.embedded_postgres import SUPERUSER

from deploy.scale.addresses import NODES, Addresses
from deploy.scale.nodes import Node, Passwords, State

#: Only how long to wait before giving up, on a machine that is busy with other things, too.
PATIENCE_SECONDS = 240.0
POLL_SECONDS = 0.2

#: How each node says that it is.
States = dict[Node, State | None]


class NotWell(Exception):
    """The cluster did not come to what it was waited for; the message says how each node is."""


class Cluster:
    """The nodes. `start` and `stop` are for all; a fault takes one."""

    def __init__(self, addresses: Addresses, directory: Path, logs: Path) -> None:
        self._passwords = Passwords(*(secrets.token_urlsafe(24) for _ in Passwords._fields))
        self.nodes = [Node(name, addresses, directory / name, logs / f"{name}.log", self._passwords) for name in NODES]
        self.superuser_url = (
            f"postgresql://{SUPERUSER}:{self._passwords.superuser}@127.0.0.1:{addresses.primary}/postgres"
        )
        self._http = httpx.AsyncClient(trust_env=False)

    async def start(self) -> None:
        """Returns when one leads and the others follow."""
        for node in self.nodes:
            await asyncio.to_thread(node.prepare)
            node.start()
        await self.until_well()

    async def stop(self) -> None:
        """Ends all of it at once; nobody needs the data any more."""
        await self._http.aclose()
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes))

    async def leader(self) -> Node:
        return await self._the_one(_leads, "a node leads")

    async def synchronous_standby(self) -> Node:
        return await self._the_one(_is_synchronous, "a standby confirms each COMMIT")

    async def switch_over(self, leader: Node, other: Node) -> None:
        """Returns when the other one leads.

        Raises:
            Refused: Patroni does not do it; the message has its words.
        """
        await leader.switch_over(self._http, other.name)

    async def until_another_leads(self, former: Node) -> Node:
        """The node that leads instead."""
        return await self._the_one(_leads, f"another than {former.name} leads", but=former)

    async def until_another_is_synchronous(self, former: Node) -> Node:
        """The node that confirms each COMMIT instead."""
        return await self._the_one(_is_synchronous, f"another than {former.name} confirms each COMMIT", but=former)

    async def bring_back(self) -> None:
        """Starts the nodes that somebody has ended; returns when all is well."""
        for node in self.nodes:
            await asyncio.to_thread(node.come_back)
        await self.until_well()

    async def until_well(self) -> None:
        """One leads, the others follow it on its timeline, and one of them confirms each COMMIT."""
        await self._until(_is_well, "one node leads and the others follow")

    async def _the_one(self, is_it: Callable[[State], bool], what: str, but: Node | None = None) -> Node:
        def found(states: States) -> Iterator[Node]:
            return (node for node, state in states.items() if state is not None and is_it(state) and node is not but)

        return next(found(await self._until(lambda states: any(found(states)), what)))

    async def _until(self, holds: Callable[[States], bool], what: str) -> States:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(states := await self._states()):
            for node in self.nodes:
                node.check()
            if time.monotonic() > deadline:
                shown = "; ".join(f"{node.name}: {state}" for node, state in states.items())
                raise NotWell(f"waited {PATIENCE_SECONDS:.0f} s until {what}; {shown}")
            await asyncio.sleep(POLL_SECONDS)
        return states

    async def _states(self) -> States:
        states = await asyncio.gather(*(node.state(self._http) for node in self.nodes))
        return dict(zip(self.nodes, states, strict=True))


def _leads(state: State) -> bool:
    return state.leads


def _is_synchronous(state: State) -> bool:
    return state.is_synchronous


def _is_well(states: States) -> bool:
    known = [state for state in states.values() if state is not None]
    following = [state for state in known if not state.leads]
    return (
        len(known) == len(states)
        and len(following) == len(states) - 1
        and all(state.streams for state in following)
        and len({state.timeline for state in known}) == 1
        and any(state.is_synchronous for state in following)
    )
