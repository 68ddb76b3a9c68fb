"""The samples in TypeScript and PHP on the pages for developers, run against the platform as their readers would."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from drills.debian import program
from tests.documented_samples import Sample, delivered_to, samples
from tests.running_platform import RunningPlatform


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


@pytest.mark.parametrize("sample", samples("TypeScript"), ids=str)
async def test_a_sample_in_typescript_is_well_typed_and_does_what_its_page_says(
    platform: RunningPlatform, typescript_client: Path, sample: Sample
) -> None:
    module = await compiled(sample, typescript_client)
    environment = await sample.environment(platform.description)
    assert await run(program("node", "nodejs"), module, cwd=module.parent, **environment)


async def compiled(sample: Sample, typescript_client: Path) -> Path:
    """A module of JavaScript, where it finds what it imports."""
    directory = typescript_client / "dist" / "samples"
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / f"{sample.page.removesuffix('.md')}-{sample.number}.mts"
    # Top-level await needs a module, which a text without imports is not by itself.
    source.write_text(f"{sample.text}\nexport {{}};\n", encoding="utf-8")
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--skipLibCheck"]
    await run(typescript_client / "node_modules" / ".bin" / "tsc", *options, source.name, cwd=directory)
    return source.with_suffix(".mjs")


@pytest.mark.parametrize("sample", samples("TypeScript", "PHP", receivers=True), ids=str)
async def test_a_receiver_takes_what_the_platform_sends_and_refuses_what_a_stranger_sends(
    platform: RunningPlatform, typescript_client: Path, tmp_path: Path, sample: Sample
) -> None:
    async with delivered_to(sample, platform) as (environment, deliver):
        command: list[str | Path]
        if sample.language == "PHP":
            (tmp_path / "receiver.php").write_text(sample.text, encoding="utf-8")
            php = program("php", "php-cli", "php-curl")
            command = [php, "-S", f"127.0.0.1:{environment['PORT']}", tmp_path / "receiver.php"]
        else:
            command = [program("node", "nodejs"), await compiled(sample, typescript_client)]
        receiver = subprocess.Popen(command, env={**os.environ, **environment})  # noqa: ASYNC220 — it runs
        try:
            assert await deliver() == (204, 400)
        finally:
            receiver.terminate()
            receiver.wait()


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
