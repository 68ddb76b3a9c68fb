"""Command lines run in one Python answer as they would in one each."""

from collections.abc import AsyncIterator

import pytest
from local_platform.commands import CommandFailed, Commands, commands


@pytest.fixture
async def opened() -> AsyncIterator[Commands]:
    async with commands({"PYTHONUTF8": "1"}) as opened:
        yield opened


async def test_each_has_its_own_arguments_input_and_output(opened: Commands) -> None:
    assert await opened.run("json.tool", "--compact", given='{"points": 1}\n') == '{"points":1}\n'
    assert await opened.run("json.tool", "--indent", "1", given='["ä"]') == '[\n "\\u00e4"\n]\n'


async def test_one_that_fails_says_why_and_the_next_runs_as_if_nothing_had_been(opened: Commands) -> None:
    with pytest.raises(CommandFailed, match=r"python -m json\.tool --compact ended with exit code 1\n  \| Expecting"):
        await opened.run("json.tool", "--compact", given="nonsense")
    with pytest.raises(CommandFailed, match="ended with exit code 2"):
        await opened.run("json.tool", "--no-such-option")
    with pytest.raises(CommandFailed, match="No module named no_such_package"):
        await opened.run("no_such_package", "migrate")
    assert await opened.run("json.tool", "--compact", given="[]") == "[]\n"
