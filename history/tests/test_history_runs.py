"""Two ledgers under every fault, for real: the processes are killed and cut off, and no promise is broken."""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SEEDS = (1, 2)
SECONDS = 45
#: The fewest of one run. On a machine that is busy with other things it goes on until there are so many.
CALLS, INDETERMINATE = 10_000, 500


def command_of(seed: int) -> list[str]:
    command = [sys.executable, "-W", "error", "-m", "history", "run", "--seconds", str(SECONDS), "--seed", str(seed)]
    return [*command, "--calls", str(CALLS), "--indeterminate", str(INDETERMINATE)]


def test_two_ledgers_keep_every_promise_whatever_fails_around_them() -> None:
    """All seeds at once: one plays on while a fault makes the other wait."""
    runs = [
        subprocess.Popen(command_of(seed), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in SEEDS
    ]

    # Each of them says little, so that none stands still while another one is read.
    said = [run.communicate() for run in runs]

    for seed, run, (output, errors) in zip(SEEDS, runs, said, strict=True):
        assert run.returncode == 0, f"seed {seed}: {output}{errors}"
        assert errors == "", f"seed {seed}: nothing went wrong in the checker itself"
        counted = re.search(r"([\d,]+) calls, ([\d,]+) indeterminate", output)
        assert counted is not None
        calls, indeterminate = (int(number.replace(",", "")) for number in counted.groups())
        assert calls >= CALLS
        assert indeterminate >= INDETERMINATE
        assert output.endswith("valid\n")
