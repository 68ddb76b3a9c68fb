"""Docker and its Compose, in either of its two kinds."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from local_platform.gateway import REPOSITORY

LAST_LINES = 20


class NoDocker(Exception):
    """Docker, or its Compose, cannot be used here; the message says which, and what to do."""


class ComposeFailed(Exception):
    """Compose failed; the message has its last words."""


class Compose:
    """`docker-compose.yml` with the variables of one file; what Compose says goes to the end of `log`.

    Raises:
        NoDocker: as it says.
    """

    def __init__(self, variables: Path, log: Path, profiles: Sequence[str]) -> None:
        named = [word for profile in profiles for word in ("--profile", profile)]
        self._command = [*_find_compose(), "--env-file", str(variables), *named]
        self._log = log

    def run(self, *arguments: str) -> None:
        """Runs one command of Compose to its end.

        Raises:
            ComposeFailed: as it says.
        """
        with self._log.open("ab") as log:
            ended = subprocess.run(  # noqa: S603 - Docker's own program
                [*self._command, *arguments],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if ended.returncode != 0:
            said = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            told = "\n".join(f"  | {line}" for line in said)
            raise ComposeFailed(f"compose {arguments[0]} ended with exit code {ended.returncode}; {self._log}\n{told}")

    def container_of(self, service: str) -> str:
        """The id of the container of a service that runs."""
        found = subprocess.run(  # noqa: S603 - Docker's own program
            [*self._command, "ps", "-q", service], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        if found.returncode != 0 or not found.stdout.strip():
            raise ComposeFailed(f"{service} does not run\n{found.stderr}")
        return found.stdout.split()[0]


def in_container(container: str, *command: str) -> list[str]:
    """The command line that runs `command` in a container, with our standard input and output."""
    return ["docker", "exec", "-i", container, *command]


def _find_compose() -> list[str]:
    if shutil.which("docker") is None:
        raise NoDocker("there is no docker on the PATH; without it, use: make run")
    if not _succeeds(["docker", "version"]):
        raise NoDocker("docker is there, but its daemon cannot be reached; start it, or get the right to use it")
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is not None and _succeeds([*command, "version"]):
            return command
    raise NoDocker("there is neither `docker compose` nor docker-compose")


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - Docker's own
