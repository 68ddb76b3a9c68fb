"""Two ledgers under every fault, for real: the processes are killed and cut off, and no promise is broken."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 45
#: The fewest of one run. On a machine that is busy with other things it goes on until there are so many.
CALLS, INDETERMINATE = 10_000, 500


@pytest.mark.parametrize("seed", [1, 2])
def test_two_ledgers_keep_every_promise_whatever_fails_around_them(seed: int) -> None:
    command = [sys.executable, "-W", "error", "-m", "history", "run", "--seconds", str(SECONDS), "--seed", str(seed)]
    command += ["--calls", str(CALLS), "--indeterminate", str(INDETERMINATE)]

    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == "", "nothing went wrong in the checker itself"
    counted = re.search(r"([\d,]+) calls, ([\d,]+) indeterminate", ran.stdout)
    assert counted is not None
    calls, indeterminate = (int(number.replace(",", "")) for number in counted.groups())
    assert calls >= CALLS
    assert indeterminate >= INDETERMINATE
    assert ran.stdout.endswith("valid\n")
