"""What several drills need: the running platform, and the TypeScript client with npm's packages."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.debian import program
from tests.running_platform import REPOSITORY, RunningPlatform, platform_of_its_own


@pytest.fixture(scope="session")
def platform() -> Iterator[RunningPlatform]:
    """One for all drills that leave it as they found it."""
    with platform_of_its_own() as platform:
        yield platform


@pytest.fixture(scope="session")
def typescript_client() -> Path:
    """Its directory, where TypeScript, the types of Node, and jose are installed."""
    directory = REPOSITORY / "clients" / "typescript"
    subprocess.run([program("npm"), "ci", "--no-progress"], cwd=directory, check=True)
    return directory
