"""The TypeScript client is built, and tried against the running platform with Node."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from drills.debian import program
from tests.running_platform import REPOSITORY, RunningPlatform, free_ports

CLIENT = REPOSITORY / "clients" / "typescript"


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    with TemporaryDirectory(prefix="points-platform-") as directory:
        platform = RunningPlatform(Path(directory) / "state", free_ports())
        try:
            platform.start()
            yield platform
        finally:
            if platform.is_running:
                platform.stop()


@pytest.fixture
async def http(platform: RunningPlatform) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.gateway, timeout=60.0, trust_env=False) as client:
        yield client


async def test_the_typescript_client_keeps_its_promises_to_vendors_partners_and_campaigns(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    npm = program("npm")
    await asyncio.to_thread(subprocess.run, [npm, "ci", "--no-progress"], cwd=CLIENT, check=True)
    customer = await platform.new_customer(http, 10_000)
    described = platform.description | {"customer": customer.user_id}
    environment = {**os.environ, "PLATFORM": json.dumps(described)}
    done = await asyncio.to_thread(
        subprocess.run, [npm, "test"], cwd=CLIENT, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 7" in done.stdout
