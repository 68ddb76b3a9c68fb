"""Supervises programs: starts them in order, restarts those that die, and stops them in reverse order."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from local_platform.parents import end_with_parent

POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0
LAST_LINES = 6
LONGEST_LINE = 180


class ProgramFailed(Exception):
    """A program ended or did not become ready during the start; the message has its exit code and last words."""


@dataclass(frozen=True)
class Program:
    """Something to run.

    `launch` starts it and returns at once; `is_ready` says whether this very process can be used.
    """

    name: str
    log: Path
    launch: Callable[[], subprocess.Popen[bytes]]
    is_ready: Callable[[subprocess.Popen[bytes]], Awaitable[bool]]
    stop_signal: signal.Signals = signal.SIGTERM
    start_seconds: float = 45.0
    stop_seconds: float = 12.0


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes]
    ended: asyncio.Future[int]
    since: float = field(default_factory=time.monotonic)
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Keeps programs running until `stop`.

    As long as `settled` has not been called, a program that dies makes `failed` raise; afterwards it is started
    again, with a pause that grows while it keeps dying. `say` is told about every such event, in one line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._running: list[_Running] = []
        self._settled = False
        self._stopping = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, program: Program) -> None:
        """Returns when the program is ready.

        Raises:
            ProgramFailed: it died, or took longer than its `start_seconds`.
        """
        running = self._launch(program)
        self._running.append(running)
        await self._until_ready(running)
        running.keeper = asyncio.create_task(self._keep(running))

    def settled(self) -> None:
        """From now on a program that dies is started again."""
        self._settled = True

    async def failed(self) -> None:
        """Never returns; raises ProgramFailed if a program dies before all was settled."""
        await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """Stops all, the last started first. Each has `stop_seconds`, then it is killed."""
        self._stopping = True
        self._failure.cancel()
        for running in reversed(self._running):
            if running.keeper is not None:
                running.keeper.cancel()
            await self._stop(running)
        self._running.clear()

    @property
    def has_started(self) -> bool:
        return bool(self._running)

    def pid_of(self, name: str) -> int:
        return next(running.process.pid for running in self._running if running.program.name == name)

    def _launch(self, program: Program) -> _Running:
        process = program.launch()
        return _Running(program, process, _end_of(process))

    async def _until_ready(self, running: _Running) -> None:
        program = running.program
        deadline = time.monotonic() + program.start_seconds
        while not await program.is_ready(running.process):
            if running.ended.done():
                raise ProgramFailed(describe_end(program, running.ended.result()))
            if time.monotonic() > deadline:
                raise ProgramFailed(
                    f"{program.name} is not ready after {program.start_seconds:.0f} s; {_log_of(program)}"
                )
            await asyncio.wait([running.ended], timeout=POLL_SECONDS)

    async def _keep(self, running: _Running) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            code = await asyncio.shield(running.ended)
            end = describe_end(running.program, code)
            if not self._settled:
                if not self._failure.done():
                    self._failure.set_exception(ProgramFailed(end))
                return
            if time.monotonic() - running.since > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._say(f"{end}\n  starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            await self._start_again(running)

    async def _start_again(self, running: _Running) -> None:
        name = running.program.name
        try:
            again = self._launch(running.program)
        except Exception as error:  # the obstacle may be gone at the next attempt; report it
            self._say(f"{name} cannot be started: {error}")
            return
        running.process, running.ended, running.since = again.process, again.ended, again.since
        try:
            await self._until_ready(running)
        except ProgramFailed as error:
            if not running.ended.done():  # alive, but slow: only its death would be a reason to replace it
                self._say(str(error))
            return
        self._say(f"{name} is back after {time.monotonic() - running.since:.1f} s (process {running.process.pid})")

    async def _stop(self, running: _Running) -> None:
        if running.ended.done():
            return
        program = running.program
        running.process.send_signal(program.stop_signal)
        await asyncio.wait([running.ended], timeout=program.stop_seconds)
        if not running.ended.done():
            self._say(f"{program.name} did not stop within {program.stop_seconds:.0f} s and is killed")
            running.process.kill()
            await running.ended


def launch(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a command whose output goes to the end of `log`. It cannot outlive us, even if we are killed."""
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the platform's own programs
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is for us alone: we stop the others in their order
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call, takes no lock
        )


def answers(url: str, status: int = 200) -> Callable[[subprocess.Popen[bytes]], Awaitable[bool]]:
    """An `is_ready`: `url` answers with this status."""

    async def is_ready(process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            return False
        try:
            async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
                return (await client.get(url)).status_code == status
        except httpx.HTTPError:
            return False

    return is_ready


def describe_end(program: Program, code: int) -> str:
    """One line about the end of a program, then the last lines of its log."""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{program.name} {how}; {_log_of(program)}"


def _log_of(program: Program) -> str:
    lines = program.log.read_text(errors="replace").splitlines()[-LAST_LINES:] if program.log.exists() else []
    return "\n".join([f"its log: {program.log}", *(f"  | {line[:LONGEST_LINE]}" for line in lines)])


def _end_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """The exit code, once there is one. A thread waits for it: that works on every system alike."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def wait() -> None:
        code = process.wait()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, ended, code)

    threading.Thread(target=wait, name=f"wait for {process.pid}", daemon=True).start()
    return ended


def _settle(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():
        ended.set_result(code)
