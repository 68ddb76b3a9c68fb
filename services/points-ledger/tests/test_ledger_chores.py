"""What is done now and then goes on after any error."""

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.chores import failing_chores
from platform_testing.serving import readiness, running
from points_ledger.app import create_app

from .conftest import MakeSettings


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), OSError("the network")], ids=repr)
async def test_every_chore_goes_on_after_any_error(
    make_settings: MakeSettings, register: FakeRegister, error: Exception
) -> None:
    with failing_chores(error) as chores:
        async with running(create_app(make_settings(), register=register)) as client:
            await chores.until_each_has_failed(3)
            answer = await readiness(client)
            assert answer.status_code == 200, answer.text
            told = answer.json()["chores"]
            assert {"release expired holds", "forget kept answers"} <= set(told)
            assert all(each["failures_since"] >= 2 for each in told.values())
            chores.stop_failing()
            await chores.until_each_has_succeeded(2)
