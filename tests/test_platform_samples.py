"""The samples of the pages for developers, cut out of them and run against the platform that runs."""

import os
import re
import secrets
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from .running_platform import REPOSITORY, RunningPlatform

GUIDES = REPOSITORY / "docs" / "developers"
#: Whose credentials a page's reader has.
CLIENT_OF_PAGE = {
    "vendors.md": "vendor",
    "receipts.md": "vendor",
    "reconciliation.md": "vendor",
    "campaigns.md": "campaign",
    "platform.md": "platform",
    "sandbox.md": "platform",
}
_SAMPLE = re.compile(r'^=== "(curl|Python)"\n\n    ```(?:sh|python)\n(.*?)^    ```$', re.MULTILINE | re.DOTALL)


def samples() -> list[tuple[str, str, str]]:
    """Page, language and text of every sample that can be run as it stands."""
    return [
        (page, language, textwrap.dedent(text))
        for page in CLIENT_OF_PAGE
        for language, text in _SAMPLE.findall((GUIDES / page).read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(("page", "language", "text"), samples(), ids=[f"{p}-{i}" for p, i, _ in samples()])
def test_a_sample_does_what_its_page_says(
    platform: RunningPlatform, tmp_path: Path, page: str, language: str, text: str
) -> None:
    tenant = platform.description["sandbox"] if page == "sandbox.md" else platform.description
    client, vendor = tenant["clients"][CLIENT_OF_PAGE[page]], tenant["clients"]["vendor"]
    environment = os.environ | {
        "CLOUD_API": platform.gateway,
        "AUTHORITY": f"{platform.gateway}/tenants/{platform.description['tenant']}",
        "VENDOR_ID": platform.description["clients"]["vendor"]["vendor_id"],
        "CLIENT_ID": client["client_id"],
        "CLIENT_SECRET": client["client_secret"],
        "SHOP_ID": vendor["client_id"],
        "SHOP_SECRET": vendor["client_secret"],
        "USER_ID": platform.description["users"][0]["user_id"],
        "ORDER": f"sample-{secrets.token_hex(4)}",
        "NEW_USER": f"sample-{secrets.token_hex(4)}",
    }
    if language == "curl":
        # As a reader would see it: a refusal ends the sample.
        text = 'set -eu\ncurl() { command curl --fail-with-body "$@"; echo; }\n' + text
        command = ["bash", "-c", text]
    else:
        sample = tmp_path / "sample.py"
        sample.write_text(text)
        command = [sys.executable, str(sample)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert '"status":"failed"' not in done.stdout


def test_the_front_door_is_open(platform: RunningPlatform) -> None:
    """What a newcomer finds at /developers, with the code that any refusal leads to."""
    with httpx.Client(base_url=platform.gateway, timeout=30) as http:
        assert "Points platform for developers" in http.get("/developers").text
        refused = http.get("/v1/accounts/nobody").json()
        path, _, anchor = refused["type"].partition("#")
        assert f'id="{anchor}"' in http.get(path).text
        assert http.get("/developers/openapi/vendor.json").json()["servers"] == [{"url": platform.gateway}]
