"""The command line, and a real process: killed, it loses less than a second of plain counts and no use of a quota."""

import asyncio
import csv
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from platform_testing.callers import ServiceKeys, basic
from platform_testing.databases import MigratedDatabase
from platform_testing.serving import PUBLIC_URL
from pydantic import ValidationError
from token_service.__main__ import cli
from typer.testing import CliRunner, Result

from .campaign_house import ORDER, House
from .conftest import MakeSettings

LIST = "customer_id,email\nc1,ann@x.example\n,nobody@x.example\nc2,bob@x.example\n"


@pytest.fixture
def environment(
    migrated_database: MigratedDatabase, service_keys: ServiceKeys, key_encryption_keys: str
) -> Mapping[str, str]:
    given = {
        "MODE": "development",
        "DATABASE_URL": migrated_database("token_service"),
        "PUBLIC_URL": PUBLIC_URL,
        "SERVICE_KEY": service_keys.private("token-service"),
        "SERVICE_PEERS": service_keys.peers,
        "ONBOARDING_URL": "http://127.0.0.1:9",
        "ISSUER_URL": "http://127.0.0.1:9",
        "KEY_ENCRYPTION_KEYS": key_encryption_keys,
    }
    return os.environ | {f"TOKENS_{name}": value for name, value in given.items()}


async def run(environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, output, errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "token_service", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_mint_and_stats(environment: Mapping[str, str], tmp_path: Path, house: House) -> None:
    """Also what the running service makes of what the command has minted."""
    targets = tmp_path / "targets.csv"
    targets.write_text(LIST)
    defaults = ("--base-url", "https://x.example", "--campaign-id", "minted", "--duration", "PT1H")
    await house.issue()
    status, output, errors = await run(environment, "mint", str(targets), "--tenant", house.tenant, *defaults)
    assert status == 1, errors
    rows = list(csv.DictReader(output.splitlines()))
    assert [bool(row["token"]) for row in rows] == [True, False, True]
    assert "2 links, 1 refused" in errors
    assert (await house.verify(rows[2]["token"])).json()["customer_id"] == "c2"
    await house.tally.flush()


def test_figures_and_keys_in_the_terminal(environment: Mapping[str, str], tenant: str, tmp_path: Path) -> None:
    targets = tmp_path / "targets.ndjson"
    targets.write_text('{"customer_id":"c1"}\n')
    own = {name: value for name, value in environment.items() if name.startswith("TOKENS_")}

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--tenant", tenant], env=own)

    defaults = ("--base-url", "https://x.example", "--campaign-id", "minted", "--duration", "never")
    misspelt = command("mint", str(targets), *defaults)
    assert (misspelt.exit_code, f"No tenant {tenant}" in misspelt.stderr) == (2, True)
    assert len(misspelt.stderr.splitlines()) == 1
    assert command("list-keys").stdout == ""
    minted = command("mint", str(targets), "--new-tenant", *defaults)
    assert minted.exit_code == 0
    assert '"expires_at":null' in minted.stdout
    figures = command("stats", "minted", "--bucket", "hour")
    assert figures.exit_code == 0
    assert "minted" in figures.stdout
    unknown = command("stats", "unknown")
    assert (unknown.exit_code, "no such campaign" in unknown.stderr) == (2, True)
    wrong = command("mint", str(targets), "--duration", "P1.5M")
    assert (wrong.exit_code, wrong.stderr) == (2, "malformed_row: duration must have whole years and months only\n")
    assert command("rotate-keys").stdout.split()[:2] == [tenant, "2"]
    leaked = command("rotate-keys", "--leaked")
    assert (leaked.stdout.split()[:2], "Revoke" in leaked.stderr) == ([tenant, "3"], True)
    assert command("rotate-keys", "--leaked", "--immediately").exit_code == 2
    assert len(command("list-keys").stdout.splitlines()) == 3


@asynccontextmanager
async def register_of_clients(headers: dict[str, str], tenant: str) -> AsyncIterator[str]:
    """partner-onboarding's check of clients, over a real port: everybody is the tenant's campaign."""
    app = FastAPI()

    @app.post("/internal/clients/check")
    async def check(_request: Request) -> JSONResponse:
        scopes = ["tokens:issue", "tokens:verify", "tokens:stats"]
        known = {"client_id": "c", "tenant": tenant, "kind": "first_party", "scopes": scopes}
        return JSONResponse(known | {"vendor_id": None, "ip_allow_list": []})

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listening.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@asynccontextmanager
async def serving(
    environment: Mapping[str, str],
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """A real process that answers."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "token_service", "serve"),
        env={**environment, "TOKENS_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
            async with asyncio.timeout(30):
                while not await _is_ready(client):
                    assert process.returncode is None, "the service has ended"
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        await asyncio.sleep(0.02)
        return False


async def test_a_killed_process_loses_no_use_and_only_the_counts_since_the_last_time_they_were_written(
    environment: Mapping[str, str], house: House
) -> None:
    credentials = basic("c", "s")
    async with (
        register_of_clients(credentials, house.tenant) as register,
        serving({**environment, "TOKENS_ONBOARDING_URL": register}) as (process, client),
    ):

        async def issue(**changed: Any) -> str:
            answer = await client.post("/v1/tokens", json=ORDER | changed, headers=credentials)
            return str(answer.json()["token"])

        plain, limited = await issue(), await issue(max_uses=100_000)
        answered = {plain: 0, limited: 0}
        is_running = True

        async def verify(token: str) -> None:
            while is_running:
                try:
                    answer = await client.post(f"/v1/tokens/{token}/verify", headers=credentials)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                answered[token] += 1

        calls = [asyncio.create_task(verify(token)) for token in (plain, limited) for _ in range(2)]

        async def kept(token: str) -> int:
            return int((await house.get(f"/v1/tokens/{token}/stats"))["verified"])

        # Twice, since what is written at the end of the process alone would never come.
        for _ in range(2):
            certain = answered[plain] + 1
            while await kept(plain) < certain:
                assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        is_running = False
        await asyncio.gather(*calls)
    assert await kept(limited) >= answered[limited] > 0
    assert await kept(plain) >= certain


def test_counts_cannot_be_set_to_wait_for_a_second(make_settings: MakeSettings) -> None:
    with pytest.raises(ValidationError):
        make_settings(count_flush_seconds=1)


async def test_a_process_that_is_asked_to_end_loses_nothing(environment: Mapping[str, str], house: House) -> None:
    credentials = basic("c", "s")
    async with (
        register_of_clients(credentials, house.tenant) as register,
        serving({**environment, "TOKENS_ONBOARDING_URL": register, "TOKENS_COUNT_FLUSH_SECONDS": "0.9"}) as (
            process,
            client,
        ),
    ):
        issued = await client.post("/v1/tokens", json=ORDER, headers=credentials)
        token = issued.json()["token"]
        answers = await asyncio.gather(
            *(client.post(f"/v1/tokens/{token}/verify", headers=credentials) for _ in range(40))
        )
        assert all(answer.status_code == 200 for answer in answers)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert (await house.get(f"/v1/tokens/{token}/stats"))["verified"] == 40
