"""The supervisor: what dies comes back, what is stopped is gone, and a failure is told with its reason."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from local_platform.processes import Program, ProgramFailed, Supervisor, launch

FOREVER = "import signal; print('here', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER


class Told(list[str]):
    """What the supervisor said; `until` waits for words."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.append(text)
        self._changed.set()

    async def until(self, words: str) -> str:
        async with asyncio.timeout(10):
            while not any(words in text for text in self):
                self._changed.clear()
                await self._changed.wait()
        return next(text for text in self if words in text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def supervisor(told: Told) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(told)
    yield supervisor
    await supervisor.stop()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    def make(name: str, code: str, *, stop_seconds: float = 5.0, start_seconds: float = 10.0) -> Program:
        log = tmp_path / f"{name}.log"

        async def is_ready(process: subprocess.Popen[bytes]) -> bool:
            return log.read_text().count("here") > seen[0]

        def start() -> subprocess.Popen[bytes]:
            seen[0] = log.read_text().count("here") if log.exists() else 0
            return launch([sys.executable, "-c", code], {}, log)

        seen = [0]
        return Program(name, log, start, is_ready, stop_seconds=stop_seconds, start_seconds=start_seconds)

    return make


async def test_a_killed_program_is_named_and_started_again(
    supervisor: Supervisor, told: Told, program: Callable[..., Program]
) -> None:
    await supervisor.start(program("ledger", FOREVER))
    supervisor.settled()
    first = supervisor.pid_of("ledger")
    os.kill(first, signal.SIGKILL)
    assert "ledger was killed by SIGKILL; its log: " in await told.until("killed by")
    await told.until("ledger is back")
    second = supervisor.pid_of("ledger")
    assert second != first
    os.kill(second, signal.SIGKILL)
    await told.until("starting it again in 0.4 s")


async def test_a_program_that_dies_at_its_start_fails_with_exit_code_and_last_words(
    supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    dying = "import sys; sys.exit('LEDGER_PORT: no such port')"
    with pytest.raises(ProgramFailed, match=r"ledger ended with exit code 1; its log: .*\n  \| LEDGER_PORT: no such"):
        await supervisor.start(program("ledger", dying))


async def test_a_program_that_never_becomes_ready_fails(
    supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    with pytest.raises(ProgramFailed, match="ledger is not ready after 0 s"):
        await supervisor.start(program("ledger", "import signal; signal.pause()", start_seconds=0.2))


async def test_a_death_before_all_is_settled_ends_the_start(
    supervisor: Supervisor, program: Callable[..., Program]
) -> None:
    await supervisor.start(program("ledger", FOREVER))
    os.kill(supervisor.pid_of("ledger"), signal.SIGKILL)
    with pytest.raises(ProgramFailed, match="ledger was killed by SIGKILL"):
        async with asyncio.timeout(10):
            await supervisor.failed()


async def test_all_stop_in_reverse_order_and_a_deaf_one_is_killed(
    supervisor: Supervisor, told: Told, program: Callable[..., Program], tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    farewell = (
        "import signal, sys\n"
        f"def end(*_):\n    open({str(ended)!r}, 'a').write(sys.argv[1] + ' ')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('here', flush=True)\nwhile True: signal.pause()\n"
    )
    for name in ("first", "second"):
        named = farewell.replace("sys.argv[1]", repr(name))
        await supervisor.start(program(name, named))
    await supervisor.start(program("deaf", DEAF, stop_seconds=0.3))
    pids = [supervisor.pid_of(name) for name in ("first", "second", "deaf")]
    await supervisor.stop()
    assert ended.read_text().split() == ["second", "first"]
    assert "deaf did not stop within 0 s and is killed" in await told.until("deaf")
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "orphan.log"
    supervising = (
        "import os, pathlib, signal, sys\n"
        "from local_platform.processes import launch\n"
        f"child = launch([sys.executable, '-c', {FOREVER!r}], {{}}, pathlib.Path({str(log)!r}))\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    result = await asyncio.to_thread(run, [sys.executable, "-c", supervising])
    assert result.returncode == -signal.SIGKILL
    try:
        psutil.Process(int(result.stdout)).wait(10)
    except psutil.NoSuchProcess:
        return
