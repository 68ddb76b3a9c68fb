"""The OpenAPI documents of the gateway: linters find nothing, and generated clients can do what they are for."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Mapping

import httpx
import pytest

from drills.debian import program
from tests.running_platform import REPOSITORY, RunningPlatform

HERE = REPOSITORY / "drills" / "openapi"
BUILT = HERE / "built"
AUDIENCES = ("vendor", "platform", "campaign", "partner")
PYTHON_GENERATOR = "openapi-python-client==0.29.1"


@pytest.fixture(scope="module")
async def described(platform: RunningPlatform) -> Mapping[str, str]:
    """The environment for programs: npm's are installed, the documents lie in `built/docs`, the platform runs."""
    await run(program("npm"), "ci", "--no-progress")
    shutil.rmtree(BUILT, ignore_errors=True)
    (BUILT / "docs").mkdir(parents=True)
    async with httpx.AsyncClient(base_url=platform.gateway, timeout=60.0, trust_env=False) as http:
        for audience in (*AUDIENCES, "third_party"):
            answer = await http.get(f"/developers/openapi/{audience}.json")
            (BUILT / "docs" / f"{audience}.json").write_bytes(answer.content)
        customer = await platform.new_customer(http, 1_000)
    return {"PLATFORM": json.dumps(platform.description | {"customer": customer.user_id})}


async def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What the program prints; fails where it does."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=HERE,
        env={**os.environ, **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents() -> list[str]:
    return sorted(str(path.relative_to(HERE)) for path in (BUILT / "docs").iterdir())


@pytest.mark.usefixtures("described")
async def test_redocly_finds_nothing() -> None:
    await run("npx", "redocly", "lint", "--config", "redocly.yaml", *documents())


@pytest.mark.usefixtures("described")
async def test_spectral_finds_nothing() -> None:
    await run("npx", "spectral", "lint", "-r", "spectral.yaml", "--fail-severity=hint", *documents())


async def test_typed_clients_for_typescript_carry_a_user_to_the_last_confirm(described: Mapping[str, str]) -> None:
    for audience in AUDIENCES:
        await run("npx", "openapi-typescript", f"built/docs/{audience}.json", "-o", f"built/types/{audience}.d.ts")
    await run("npx", "openapi-ts")
    await run("npx", "tsc", "-p", ".")
    for script in ("fetch.js", "hey.js"):
        assert await run("node", f"built/js/{script}", environment=described) == "all as it should be\n"


async def test_generated_packages_for_python_carry_a_user_to_the_last_confirm(described: Mapping[str, str]) -> None:
    uv = shutil.which("uv") or str(REPOSITORY / ".tools" / "uv" / "bin" / "uv")
    within = (uv, "run", "--no-project", "--with", PYTHON_GENERATOR)
    for audience in AUDIENCES:
        # `platform` is a module of Python's own.
        package = "platform_api" if audience == "platform" else audience
        places = ("--path", f"built/docs/{audience}.json", "--output-path", f"built/python/{package}")
        await run(*within, "openapi-python-client", "generate", *places, "--overwrite", "--meta", "none")
    assert await run(*within, "python", "play.py", environment=described) == "all as it should be\n"
