"""Erasures are repeated in a database that was restored from before them; they are kept outside of it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from shared.times import iso
from structlog.testing import capture_logs

from .onboarding_house import House, Shell


def line(house: House, user_id: str, erased_at: datetime | None = None, **more: Any) -> str:
    return json.dumps(
        {"tenant": house.tenant, "user_id": user_id, "erased_at": iso(erased_at or datetime.now(UTC)), **more}
    )


async def closings(house: House, user_id: str, times: int) -> None:
    """Waits until the ledger was asked so often to close the person's account."""
    async with asyncio.timeout(20):
        while house.neighbours.closed.count((house.tenant, user_id)) < times:  # noqa: ASYNC110 — a chore asks it
            await asyncio.sleep(0.01)


async def test_whom_a_restored_database_brings_back_is_erased_again(house: House, shell: Shell) -> None:
    """The line comes from a file of before, or from the log, which says more."""
    email = await house.user("erika")
    house.neighbours.balances |= {(house.tenant, name): (1200, 0) for name in ("erika", "nobody")}
    typed = f"{line(house, 'erika', event='person erased', level='info')}\n\n{line(house, 'nobody')}\n"
    told = await shell("repeat-erasures", "-", typed=typed)
    assert told.exit_code == 0
    assert told.answer == {"erased": 1, "gone_already": 1, "needed": []}
    assert (await house.sign_in(email)).status_code == 401
    await closings(house, "erika", 1)
    await closings(house, "nobody", 1)
    again = await shell("repeat-erasures", "-", typed=typed)
    assert again.answer == {"erased": 0, "gone_already": 2, "needed": []}
    # A restored ledger has the account once more.
    await closings(house, "erika", 2)


async def test_an_account_that_was_made_later_stays(house: House, shell: Shell) -> None:
    former = line(house, "erika")
    email = await house.user("erika")
    told = await shell("repeat-erasures", "-", typed=former)
    assert told.answer == {"erased": 0, "gone_already": 1, "needed": []}
    assert (await house.sign_in(email)).status_code == 303


async def test_who_is_needed_is_named_and_all_others_are_erased(house: House, shell: Shell) -> None:
    await house.user("anna", roles=("tenant_admin",))
    email = await house.user("erika")
    told = await shell("repeat-erasures", "-", typed=f"{line(house, 'anna')}\n{line(house, 'erika')}")
    assert told.exit_code == 1
    assert [each["user_id"] for each in told.answer["needed"]] == ["anna"]
    assert told.answer["erased"] == 1
    assert (await house.sign_in(email)).status_code == 401


@pytest.mark.parametrize("bad", ["erika", "{}", '{"tenant": "t", "user_id": "u", "erased_at": "yesterday"}'])
async def test_a_line_that_cannot_be_read_is_named_and_nobody_is_erased(house: House, shell: Shell, bad: str) -> None:
    email = await house.user("erika")
    told = await shell("repeat-erasures", "-", typed=f"{line(house, 'erika')}\n{bad}\n")
    assert told.exit_code == 1
    assert "Line 2" in told.stderr
    assert (await house.sign_in(email)).status_code == 303


async def test_the_service_logs_an_erasure_at_the_shell_once(house: House, shell: Shell) -> None:
    """So that its logs alone are enough after a restore."""
    await house.user("erika")
    house.neighbours.balances |= {(house.tenant, "erika"): (1200, 0)}
    with capture_logs() as logged:
        told = await shell("erase-user", "erika", "--tenant", house.tenant)
        await closings(house, "erika", 1)
        await shell("repeat-erasures", "-", typed=line(house, "erika"))
        await closings(house, "erika", 2)
    # The command itself says it as well, with its own time.
    erased = [one["user_id"] for one in logged if one["event"] == "person erased" and one["tenant"] == house.tenant]
    assert told.exit_code == 0
    assert erased == ["erika", "erika"]


async def test_the_journal_is_written_to_a_file_and_to_the_log(house: House, shell: Shell, tmp_path: Path) -> None:
    await house.user("erika")
    erased = await shell("erase-user", "erika", "--tenant", house.tenant)
    assert "person erased" in erased.stderr
    file = tmp_path / "erasures.ndjson"
    told = await shell("list-erasures", str(file))
    written = [json.loads(each) for each in file.read_text().splitlines()]
    assert told.answer == {"file": str(file), "erasures": len(written)}
    assert [each["user_id"] for each in written if each["tenant"] == house.tenant] == ["erika"]
    assert (await shell("list-erasures", str(file), "--since", "2999-01-01")).answer["erasures"] == 0
