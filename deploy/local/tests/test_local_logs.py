"""Logs of the local platform: a long one is put aside while its program goes on writing."""

import sys
from pathlib import Path

import pytest
from local_platform import state_directory
from local_platform.processes import launch
from local_platform.state_directory import StateDirectory


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.setattr(state_directory, "LONGEST_LOG_BYTES", 2000)
    state = StateDirectory(tmp_path)
    state.prepare()
    return state


WRITER = """
import pathlib, sys, time
print("x" * 3000, flush=True)
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("later")
"""


def test_a_program_goes_on_writing_after_its_log_was_put_aside(state: StateDirectory, tmp_path: Path) -> None:
    log, go = state.log("writer"), tmp_path / "go"
    writer = launch([sys.executable, "-c", WRITER, str(go)], {}, log)
    try:
        while log.stat().st_size < 3000:
            assert writer.poll() is None
        state.rotate_logs()
        assert log.with_suffix(".log.1").read_text() == "x" * 3000 + "\n"
        go.touch()
        assert writer.wait(timeout=60) == 0
    finally:
        writer.kill()
        writer.wait()
    # It appends where the file now ends, and leaves no hole.
    assert log.read_bytes() == b"later\n"


def test_a_few_former_logs_are_kept_and_short_ones_stay(state: StateDirectory) -> None:
    long, short = state.log("long"), state.log("short")
    short.write_text("short")
    for number in range(6):
        long.write_text(str(number) * 3000)
        state.rotate_logs()
    assert [long.with_suffix(f".log.{number}").read_text()[0] for number in (1, 2, 3)] == ["5", "4", "3"]
    assert not long.with_suffix(".log.4").exists()
    assert short.read_text() == "short"
