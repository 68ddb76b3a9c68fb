"""Runs the services' command lines, one after another, in one child process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from local_platform.parents import end_with_parent

LONGEST_ANSWER = 2**22
IN_ONE = (sys.executable, "-m", "local_platform.in_one")


class CommandFailed(Exception):
    """A command failed; the message has its name and its last words."""


class Commands:
    """Runs command lines in the environment it was opened with; see `in_one` for why."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def run(self, module: str, *arguments: str, given: str = "") -> str:
        """The standard output of `python -m module arguments`; `given` is its standard input.

        Raises:
            CommandFailed: as it says.
        """
        async with self._turn:
            assert self._process.stdin is not None  # noqa: S101 - opened with pipes
            assert self._process.stdout is not None  # noqa: S101
            request = {"module": module, "arguments": arguments, "given": given}
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        if not line:
            raise CommandFailed(f"python -m {module} {arguments[0]} ended all at once")
        answer = json.loads(line)
        if answer["code"] != 0:
            said = (answer["errors"] or answer["output"]).strip().splitlines()[-8:]
            told = "\n".join(f"  | {line}" for line in said)
            raise CommandFailed(f"python -m {module} {arguments[0]} ended with exit code {answer['code']}\n{told}")
        return str(answer["output"])


@asynccontextmanager
async def commands(environment: Mapping[str, str], program: Sequence[str] = IN_ONE) -> AsyncIterator[Commands]:
    """Opens a process for commands; it ends with the block. `program` runs `in_one`, here or elsewhere."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
        limit=LONGEST_ANSWER,
        start_new_session=True,
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    try:
        yield Commands(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
