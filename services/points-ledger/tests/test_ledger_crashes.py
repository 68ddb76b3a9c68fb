"""Processes and PostgreSQL end in the middle of the work: nothing acknowledged is lost, nothing happens twice."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.callers import FakeRegister
from platform_testing.processes import PATIENCE_SECONDS, ServiceProcess, network_client

from .adding_up import what_does_not_add_up
from .parties import Platform, Vendor

WORKERS = 24
POINTS = 7


@pytest.fixture(scope="module")
def register(network_register: FakeRegister) -> FakeRegister:
    return network_register


async def client_of(ledger: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    await ledger.keep_up()
    async with network_client(ledger.url) as client:
        yield client


@pytest.fixture
async def client(ledgers: list[ServiceProcess]) -> AsyncIterator[httpx.AsyncClient]:
    async for client in client_of(ledgers[0]):
        yield client


@pytest.fixture
async def other_client(ledgers: list[ServiceProcess]) -> AsyncIterator[httpx.AsyncClient]:
    async for client in client_of(ledgers[1]):
        yield client


@dataclass
class Load:
    """Vendors that commit and confirm as fast as they are answered, and remember what they were told."""

    shops: list[Vendor]
    users: list[str]
    #: (operation, transaction id) → status and code, or None where no answer came.
    told: dict[tuple[str, str], tuple[int, str] | None] = field(default_factory=dict)
    #: Where a worker goes on after an answer that it did not want.
    persists: bool = False
    _stopped: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def user_of(self, name: str) -> str:
        return self.users[int(name.split("-")[1]) % len(self.users)]

    async def run(self) -> None:
        await asyncio.gather(*(self._work(number) for number in range(WORKERS)))

    def stop(self) -> None:
        self._stopped = True

    async def acknowledged(self, operation: str, more: int) -> None:
        """Returns when so many more of these have succeeded."""
        wanted = self.count(operation) + more
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.count(operation) < wanted:
                self._news.clear()
                await self._news.wait()

    def count(self, operation: str) -> int:
        return sum(op == operation and told == (200, "") for (op, _), told in self.told.items())

    async def _work(self, worker: int) -> None:
        shop = self.shops[worker % len(self.shops)]
        for number in itertools.count():
            name = f"{worker}-{number}"
            for operation in ("commit", "confirm"):
                if self._stopped:
                    return
                if await self.ask(operation, name, shop) != (200, ""):
                    if not self.persists:
                        return
                    break

    async def ask(self, operation: str, name: str, shop: Vendor) -> tuple[int, str] | None:
        self.told[operation, name] = None
        user = self.user_of(name)
        try:
            answer = await (shop.commit(user, name, POINTS) if operation == "commit" else shop.confirm(user, name))
        except httpx.TransportError:
            # So that a load does not spin while nobody answers: the connection itself waits for the server.
            await asyncio.sleep(0.01)
            return None
        finally:
            self._news.set()
        self.told[operation, name] = (answer.status_code, answer.json().get("code", ""))
        return self.told[operation, name]


@pytest.fixture
async def users(platform: Platform) -> list[str]:
    return [await platform.user_with(10_000_000) for _ in range(5)]


@pytest.fixture
def load(shop: Vendor, other_client: httpx.AsyncClient, users: list[str]) -> Load:
    return Load([shop, Vendor(other_client, shop.headers)], users)


async def states_of(url: str, tenant: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    try:
        assert await what_does_not_add_up(connection, tenant) == []
        rows = await connection.fetch(
            "SELECT transaction_id, state FROM points_ledger.transactions WHERE tenant = $1", tenant
        )
        return {row["transaction_id"]: row["state"] for row in rows}
    finally:
        await connection.close()


async def assert_kept(load: Load, url: str, tenant: str) -> dict[str, str]:
    """Every acknowledged effect is there; what was refused as not done has not been done."""
    states = await states_of(url, tenant)
    for (operation, name), told in load.told.items():
        if told == (200, ""):
            assert states[name] == "confirmed" if operation == "confirm" else states[name] in {"held", "confirmed"}
        elif told == (503, "temporarily_unavailable"):
            assert states.get(name) == (None if operation == "commit" else "held"), "nothing of it was kept"
        else:
            assert told in (None, (503, "outcome_unknown")), (operation, name, told)
    return states


async def assert_repeating_makes_whole(load: Load, platform: Platform, url: str, tenant: str) -> None:
    """Callers without an answer ask again, and then everything has happened exactly once."""
    names = sorted({name for _, name in load.told})
    before = await states_of(url, tenant)

    async def again(worker: int) -> None:
        for name in names[worker::WORKERS]:
            user, shop = load.user_of(name), load.shops[worker % len(load.shops)]
            held = await shop.commit(user, name, POINTS)
            confirmed = await shop.confirm(user, name)
            codes = (held.json().get("code", ""), confirmed.json().get("code", ""))
            done = ("points_already_deducted",) * 2
            assert codes == (done if before.get(name) == "confirmed" else ("", "")), (name, before.get(name))

    await asyncio.gather(*(again(worker) for worker in range(WORKERS)))

    states = await states_of(url, tenant)
    assert states == dict.fromkeys(names, "confirmed")
    balances = [await platform.balance(user) for user in load.users]
    redeemed = POINTS * len(names)
    assert sum(available for available, _ in balances) == 10_000_000 * len(load.users) - redeemed
    assert {held for _, held in balances} == {0}


async def test_a_database_that_is_killed_loses_nothing_that_was_acknowledged(
    load: Load,
    ledgers: list[ServiceProcess],
    platform: Platform,
    own_postgres: EmbeddedPostgres,
    own_url: str,
    tenant: str,
) -> None:
    load.persists = True
    running = asyncio.create_task(load.run())
    await load.acknowledged("confirm", 40)
    own_postgres.kill()
    await asyncio.to_thread(own_postgres.start)
    # Both processes find back to it by themselves.
    await asyncio.gather(*(ledger.ready() for ledger in ledgers))
    await load.acknowledged("confirm", 30)
    load.stop()
    await running

    await assert_kept(load, own_url, tenant)
    await assert_repeating_makes_whole(load, platform, own_url, tenant)


async def test_a_ledger_that_is_killed_loses_nothing_that_it_acknowledged(
    load: Load, ledgers: list[ServiceProcess], platform: Platform, own_url: str, tenant: str
) -> None:
    running = asyncio.create_task(load.run())
    await load.acknowledged("confirm", 40)

    ledgers[1].kill()
    await load.acknowledged("confirm", 20)  # of the other one, which goes on
    load.stop()
    await running

    assert None in load.told.values(), "somebody was left without an answer"
    await assert_kept(load, own_url, tenant)
    load.shops = load.shops[:1]
    await assert_repeating_makes_whole(load, platform, own_url, tenant)


async def test_a_ledger_that_is_asked_to_end_answers_all_that_it_has_taken(
    shop: Vendor, users: list[str], ledgers: list[ServiceProcess], own_url: str, tenant: str
) -> None:
    load = Load([shop], users)
    running = asyncio.create_task(load.run())
    await load.acknowledged("confirm", 40)

    status = await ledgers[0].stop()
    await running

    assert status == 0
    states = await assert_kept(load, own_url, tenant)
    for (operation, name), told in load.told.items():
        if told is None:
            assert states.get(name) == (None if operation == "commit" else "held"), "what was taken was answered"
        else:
            assert told == (200, "")
