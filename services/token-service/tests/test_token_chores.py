"""What is done now and then goes on after any error, and the end writes every count whatever happened before."""

import asyncio

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.chores import failing_chores
from platform_testing.serving import readiness, running
from token_service.app import create_app
from token_service.counting import tally as tally_module
from token_service.tokens.verifying import Verifying

from .campaign_house import House
from .conftest import MakeSettings

_OWN = {
    "write counts",
    "read keys",
    "tell ages of keys",
    "forget kept answers",
    "purge tokens",
    "rotate and retire keys",
}


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), OSError("the network")], ids=repr)
async def test_every_chore_goes_on_after_any_error(
    make_settings: MakeSettings, register: FakeRegister, error: Exception
) -> None:
    with failing_chores(error) as chores:
        async with running(create_app(make_settings(), register=register)) as client:
            await chores.until_each_has_failed(3)
            answer = await readiness(client)
            # It serves as well as before, and says what does not go on.
            assert answer.status_code == 200, answer.text
            told = answer.json()["chores"]
            assert set(told) >= _OWN
            assert all(each["failures_since"] >= 2 for each in told.values())
            chores.stop_failing()
            await chores.until_each_has_succeeded(2)
            told = (await readiness(client)).json()["chores"]
            # That for keys goes on failing: here is no issuer.
            assert all(told[name]["failures_since"] == 0 for name in _OWN)


async def test_the_end_writes_every_count_whatever_happened_before(
    make_settings: MakeSettings,
    register: FakeRegister,
    campaign: dict[str, str],
    tenant: str,
    house: House,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, failed = tally_module._write, asyncio.Event()

    async def fail(*arguments: object) -> None:
        failed.set()
        raise RuntimeError("a mistake in the middle of a transaction")

    with failing_chores(RuntimeError("a mistake")) as chores:
        app = create_app(make_settings(), register=register)
        async with running(app) as client:
            other = House(app, client, campaign, tenant)
            token = await other.issue()
            monkeypatch.setattr(tally_module, "_write", fail)
            await chores.until_each_has_failed(1)
            chores.stop_failing()
            await asyncio.gather(*(other.verify(token) for _ in range(70)))
            async with asyncio.timeout(20):
                await failed.wait()

            async def fail_twice(*arguments: object) -> None:
                if failures_at_the_end:
                    raise failures_at_the_end.pop()
                await write(*arguments)  # type: ignore[arg-type]  # passed on as they came

            failures_at_the_end = [RuntimeError("still"), OSError("and again")]
            monkeypatch.setattr(tally_module, "_write", fail_twice)
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 70


async def test_a_line_that_cannot_be_closed_loses_no_count(
    make_settings: MakeSettings,
    register: FakeRegister,
    campaign: dict[str, str],
    tenant: str,
    house: House,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(_self: Verifying) -> None:
        raise RuntimeError("a mistake while closing")

    monkeypatch.setattr(Verifying, "close", fail)
    app = create_app(make_settings(count_flush_seconds=0.9), register=register)
    tokens: list[str] = []

    async def serve() -> None:
        async with running(app) as client:
            other = House(app, client, campaign, tenant)
            tokens.append(await other.issue())
            await asyncio.gather(*(other.verify(tokens[0]) for _ in range(30)))

    with pytest.raises(RuntimeError, match="while closing"):
        await serve()
    assert (await house.get(f"/v1/tokens/{tokens[0]}/stats"))["verified"] == 30
