"""The TypeScript client is built, and tried against the running platform with Node."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import httpx

from tests.running_platform import RunningPlatform

HANDSHAKES = 6


async def npm(client: Path, *command: str, **environment: str) -> str:
    """What npm prints; fails where it does."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["npm", *command],
        cwd=client,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_its_types_are_what_the_openapi_documents_give(typescript_client: Path) -> None:
    """`make lint` holds the schemas against the documents."""
    await npm(typescript_client, "run", "types", "--", "--check")


async def test_the_typescript_client_keeps_its_promises_to_vendors_partners_and_campaigns(
    platform: RunningPlatform, typescript_client: Path
) -> None:
    async with httpx.AsyncClient(base_url=platform.gateway, timeout=60.0, trust_env=False) as http:
        customer = await platform.new_customer(http, 10_000)
        handshakes = [await _executed(platform, http) for _ in range(HANDSHAKES)]
    described = platform.description | {"customer": customer.user_id, "handshakes": handshakes}
    said = await npm(typescript_client, "test", PLATFORM=json.dumps(described))
    assert "# pass 16" in said


async def _executed(platform: RunningPlatform, http: httpx.AsyncClient) -> dict[str, str]:
    """A handshake that somebody has gone through, and that the partner may redeem."""
    codes = (await http.get("/user/partner/init-register-handshake", auth=platform.auth("partner"))).json()
    user_id = await platform.link(codes["registerCode"])
    return {"authorizationCode": codes["authorizationCode"], "userId": user_id}
