"""Many callers with Basic credentials at once: the register is asked little, and nobody is driven out."""

import asyncio

import pytest
from platform_testing.callers import FakeRegister, basic
from platform_testing.serving import PUBLIC_URL
from shared.callers import FRESH_SECONDS, Callers
from shared.errors import Unauthenticated, Unavailable
from shared.proxies import ProxyTrust

from shared import callers as module

from .clocks import Clock
from .held_register import HeldRegister, ask, until


@pytest.fixture
def register() -> HeldRegister:
    return HeldRegister()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def callers(register: HeldRegister, clock: Clock) -> Callers:
    return Callers(register, keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust(()), clock=clock)


async def test_a_hundred_requests_at_once_ask_once(callers: Callers, register: HeldRegister) -> None:
    headers = register.add("demo")
    register.let_go.clear()
    asking = [asyncio.create_task(ask(callers, headers)) for _ in range(100)]
    await until(lambda: register.waiting == 1)
    register.let_go.set()
    assert len({caller.client_id for caller in await asyncio.gather(*asking)}) == 1
    assert register.asked == 1


async def test_a_hundred_wrong_requests_at_once_ask_once(callers: Callers, register: HeldRegister) -> None:
    register.let_go.clear()
    asking = [asyncio.create_task(ask(callers, basic("a", "b"))) for _ in range(100)]
    await until(lambda: register.waiting == 1)
    register.let_go.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(outcome, Unauthenticated) for outcome in outcomes)
    assert register.asked == 1


async def test_who_hangs_up_takes_the_answer_from_nobody(callers: Callers, register: HeldRegister) -> None:
    headers = register.add("demo")
    register.let_go.clear()
    asking = [asyncio.create_task(ask(callers, headers)) for _ in range(10)]
    await until(lambda: register.waiting == 1)
    for hung_up in asking[:5]:
        hung_up.cancel()
    await asyncio.gather(*asking[:5], return_exceptions=True)
    register.let_go.set()
    assert len(await asyncio.gather(*asking[5:])) == 5
    assert register.asked == 1


async def test_when_all_hang_up_the_answer_is_remembered_all_the_same(callers: Callers, register: HeldRegister) -> None:
    headers = register.add("demo")
    register.let_go.clear()
    asking = asyncio.create_task(ask(callers, headers))
    await until(lambda: register.waiting == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    register.let_go.set()
    await until(lambda: register.waiting == 0)
    await ask(callers, headers)
    assert register.asked == 1


# ——— floods ———


async def test_a_flood_of_wrong_secrets_drives_no_good_one_out(
    callers: Callers, register: HeldRegister, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 100)
    headers = register.add("demo")
    await ask(callers, headers)
    for number in range(300):
        with pytest.raises(Unauthenticated):
            await ask(callers, basic("somebody", f"guess {number}"))
    register.is_down = True
    clock.now += 60
    assert await ask(callers, headers)


async def test_a_flood_does_not_fill_the_memory(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 100)
    register = FakeRegister()
    callers = Callers(register, keys=None, public_url=PUBLIC_URL, proxies=ProxyTrust(()))
    for number in range(300):
        await ask(callers, register.add("demo"))
        with pytest.raises(Unauthenticated):
            await ask(callers, basic("somebody", f"guess {number}"))
    assert len(callers._remembered) == len(callers._refused) == 100
    assert not callers._asking


async def test_a_flood_asks_the_register_of_no_more_than_so_many_at_once(
    callers: Callers, register: HeldRegister, clock: Clock
) -> None:
    headers = register.add("demo")
    await ask(callers, headers)
    register.let_go.clear()
    flood = [asyncio.create_task(ask(callers, basic("somebody", f"guess {number}"))) for number in range(1500)]
    await until(lambda: register.waiting == module._ASKED_AT_ONCE)
    await asyncio.sleep(0)
    # Who is known does not stand in line behind strangers.
    clock.now += FRESH_SECONDS
    known = asyncio.create_task(ask(callers, headers))
    await until(lambda: register.waiting == module._ASKED_AT_ONCE + 1)
    register.let_go.set()
    assert await known
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert register.most == module._ASKED_AT_ONCE + 1
    # And the line itself is bounded.
    refused = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert len(refused) == 1500 - module._WAITING
    assert all(isinstance(outcome, Unauthenticated | Unavailable) for outcome in outcomes)


async def test_strangers_in_line_are_sent_away_at_once_when_the_register_falls_silent(
    callers: Callers, register: HeldRegister
) -> None:
    register.let_go.clear()
    register.is_down = True
    flood = [asyncio.create_task(ask(callers, basic("somebody", f"guess {number}"))) for number in range(200)]
    await until(lambda: register.waiting == module._ASKED_AT_ONCE)
    register.let_go.set()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert register.asked == module._ASKED_AT_ONCE
