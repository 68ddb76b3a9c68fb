"""What several drills need: the running platform, and the TypeScript client with npm's packages."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from drills.debian import program
from tests.running_platform import REPOSITORY, RunningPlatform, free_ports


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """One for all drills that leave it as they found it."""
    with TemporaryDirectory(prefix="points-platform-") as directory:
        platform = RunningPlatform(Path(directory) / "state", free_ports())
        try:
            platform.start()
            yield platform
        finally:
            if platform.is_running:
                platform.stop()


@pytest.fixture(scope="session")
def typescript_client() -> Path:
    """Its directory, where TypeScript, the types of Node, and jose are installed."""
    directory = REPOSITORY / "clients" / "typescript"
    subprocess.run([program("npm"), "ci", "--no-progress"], cwd=directory, check=True)
    return directory
