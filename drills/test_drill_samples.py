"""The samples in TypeScript and PHP on the pages for developers, run against the platform as their readers would."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from drills.debian import program
from tests.documented_samples import Sample, samples
from tests.running_platform import REPOSITORY, RunningPlatform, free_ports

#: Has TypeScript, the types of Node, and jose.
_PACKAGES = REPOSITORY / "clients" / "typescript"


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


async def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What the program prints; fails where it does."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def typescript() -> Path:
    """A directory in which TypeScript finds what samples import."""
    subprocess.run([program("npm"), "ci", "--no-progress"], cwd=_PACKAGES, check=True)
    directory = _PACKAGES / "dist" / "samples"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.mark.parametrize("sample", samples("TypeScript"), ids=str)
async def test_a_sample_in_typescript_is_well_typed_and_does_what_its_page_says(
    platform: RunningPlatform, typescript: Path, sample: Sample
) -> None:
    name = sample.page.removesuffix(".md")
    # Top-level await needs a module, which a text without imports is not by itself.
    (typescript / f"{name}.mts").write_text(f"{sample.text}\nexport {{}};\n", encoding="utf-8")
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--skipLibCheck"]
    await run(_PACKAGES / "node_modules" / ".bin" / "tsc", *options, f"{name}.mts", cwd=typescript)
    environment = await sample.environment(platform.description)
    assert await run(program("node", "nodejs"), f"{name}.mjs", cwd=typescript, **environment)


@pytest.mark.parametrize("sample", samples("PHP"), ids=str)
async def test_a_sample_in_php_does_what_its_page_says(
    platform: RunningPlatform, tmp_path: Path, sample: Sample
) -> None:
    php = program("php", "php-cli", "php-curl")
    (tmp_path / "sample.php").write_text(sample.text, encoding="utf-8")
    environment = await sample.environment(platform.description)
    # A warning is a failure, as everywhere here.
    said = await run(
        php, "-d", "display_errors=stderr", "-d", "error_reporting=-1", "sample.php", cwd=tmp_path, **environment
    )
    assert said.strip()
