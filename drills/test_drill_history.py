"""The history checker where a standby takes over, and whether it finds bugs: the short form of `make mutants`."""

import subprocess
import sys


def history(*arguments: str) -> str:
    """What it says."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "history", *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_nothing_that_was_acknowledged_is_lost_when_a_standby_takes_over() -> None:
    said = history("run", "--standby", "--seconds", "30", "--calls", "3000")
    assert said.endswith("valid\n")


def test_the_checker_finds_bugs_and_nothing_wrong_with_the_ledger_as_it_is() -> None:
    assert "ESCAPED" not in history("mutants", "no-lock", "asynchronous-commit", "repeat-from-a-read")
