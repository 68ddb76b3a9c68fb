"""The samples of the pages for developers, cut out of them and run against the platform that runs.

Those in TypeScript and PHP need npm and Debian: the drills run them.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .documented_samples import GUIDES_OF_AUDIENCES, Sample, delivered_to, loose_samples, samples
from .running_platform import RunningPlatform


@pytest.mark.parametrize("sample", samples("curl", "Python"), ids=str)
async def test_a_sample_does_what_its_page_says(platform: RunningPlatform, tmp_path: Path, sample: Sample) -> None:
    if sample.language == "curl":
        # As a reader would see it: a refusal ends the sample.
        text = 'set -eu\ncurl() { command curl --fail-with-body "$@"; echo; }\n' + sample.text
        command = ["bash", "-c", text]
    else:
        file = tmp_path / "sample.py"
        file.write_text(sample.text)
        command = [sys.executable, str(file)]
    environment = os.environ | await sample.environment(platform.description)
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '"status":"failed"' not in done.stdout


@pytest.mark.parametrize("sample", samples("Python", receivers=True), ids=str)
async def test_a_receiver_takes_what_the_platform_sends_and_refuses_what_a_stranger_sends(
    platform: RunningPlatform, tmp_path: Path, sample: Sample
) -> None:
    file = tmp_path / "receiver.py"
    file.write_text(sample.text)
    async with delivered_to(sample, platform) as (environment, deliver):
        receiver = subprocess.Popen([sys.executable, str(file)], env=os.environ | environment)  # noqa: ASYNC220 — it runs
        try:
            assert await deliver() == (204, 400)
        finally:
            receiver.terminate()
            receiver.wait()


def test_no_sample_of_a_guide_is_left_out() -> None:
    """But for the one into which a reader must put a code first."""
    assert [one.partition(":")[0] for one in loose_samples()] == ["partner-deutsch.md", "partners.md"]


def test_each_audience_has_samples_in_every_language() -> None:
    languages = {page: {sample.language for sample in samples() if sample.page == page} for page in GUIDES_OF_AUDIENCES}
    assert all(found == {"curl", "Python", "TypeScript", "PHP"} for found in languages.values()), languages


def test_the_front_door_is_open(platform: RunningPlatform) -> None:
    """What a newcomer finds at /developers, with the code that any refusal leads to."""
    with httpx.Client(base_url=platform.gateway, timeout=30) as http:
        assert "Points platform for developers" in http.get("/developers").text
        refused = http.get("/v1/accounts/nobody").json()
        path, _, anchor = refused["type"].partition("#")
        assert f'id="{anchor}"' in http.get(path).text
        assert http.get("/developers/openapi/vendor.json").json()["servers"] == [{"url": platform.gateway}]
