"""The worst day: the database is gone, and what is put back is older than what the world was told.

The backup is taken under load, as every night. Follows `docs/operate/backup-and-restore.md`.
"""

import asyncio
import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from local_platform.ports import Ports
from local_platform.services import SERVICES
from platform_testing.databases import new_database
from platform_testing.dumps import dump, restore
from shared.db import Database
from token_service.keys import store

from tests.running_platform import Customer, RunningPlatform, environment_of, free_ports, run_command

#: No token ends, so that the same number under the same key would be the same token.
ORDER = {
    "base_url": "https://campaign.example",
    "customer_id": "c",
    "campaign_id": "restore",
    "duration": "never",
}
BATCH = 500
OWNER_PASSWORD = secrets.token_urlsafe(16)


class PlatformOnItsServer(RunningPlatform):
    """`make run`, with databases on a server that the drill can take away."""

    def __init__(self, state: Path, ports: Ports) -> None:
        super().__init__(state, ports)
        self.settings: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return environment_of(self.state, self.ports) | self.settings

    def launch(self) -> None:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(run_command(), env=self.environment(), stdout=output, stderr=output)


class Installation:
    """Four databases, a platform on them, and what an operator does at the shell."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._passwords = {service.database: secrets.token_urlsafe(16) for service in SERVICES}
        # Another user runs the server, who may not pass through pytest's own directories.
        self._of_server = tempfile.TemporaryDirectory(prefix="restore-")
        self.server = EmbeddedPostgres(Path(self._of_server.name) / "postgres")
        self.platform = PlatformOnItsServer(directory / "state", free_ports())

    def url(self, database: str) -> str:
        return self.server.url(database, database, self._passwords[database])

    def owner_url(self, database: str) -> str:
        """By the role that owns the tables; the other one may not read all that a dump has."""
        return self.server.url(database, f"{database}_owner", OWNER_PASSWORD)

    def start_server(self) -> None:
        """A new server on the same port, with empty databases."""
        self.server.start()
        for database, password in self._passwords.items():
            self.server.create_role_and_database(database, password, owner_password=OWNER_PASSWORD)
        self.platform.settings = {
            name: value
            for service in SERVICES
            for name, value in (
                (service.database_url_variable, self.url(service.database)),
                (f"{service.prefix}MIGRATION_DATABASE_URL", self.owner_url(service.database)),
            )
        }

    def back_up(self) -> None:
        for service in SERVICES:
            dump(self.owner_url(service.database), self._directory / service.database)

    def destroy(self) -> None:
        self.server.kill()
        shutil.rmtree(self.server.directory)

    def restore(self) -> None:
        for service in SERVICES:
            restore(self.owner_url(service.database), self._directory / service.database)

    def end(self) -> None:
        if self.platform.is_running:
            self.platform.stop()
        self.server.stop()
        self._of_server.cleanup()

    def command(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A service's own command, with the settings of its running process."""
        process = self.platform.process_of(service)
        return subprocess.run(
            [*run_command()[:1], "-m", service.replace("-", "_"), *words],
            env=process.environ(),
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    try:
        installation.start_server()
        installation.platform.start()
        yield installation
    finally:
        installation.end()


@asynccontextmanager
async def calling(platform: RunningPlatform) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.gateway, timeout=60.0, trust_env=False) as http:
        yield http


async def issue(platform: RunningPlatform, http: httpx.AsyncClient) -> list[str]:
    """As a campaign's back end does: it tries again after 503."""
    while True:
        answer = await http.post("/v1/tokens/batch", json=[ORDER] * BATCH, auth=platform.auth("campaign"))
        if answer.status_code == 201:
            return [each["token"] for each in answer.json()]
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(float(answer.headers["retry-after"]))


async def spend(platform: RunningPlatform, http: httpx.AsyncClient, customer: Customer) -> str:
    """A confirmed redemption of one point; its transaction id."""
    name = f"restore-{secrets.token_hex(8)}"
    order = {"userid": customer.user_id, "transactionid": name}
    for operation, more in (("commit", {"pointstodeduct": 1, "description": "a drill"}), ("confirm", {})):
        answer = await http.post(f"/eai/v1/points?{operation}", json=order | more, auth=platform.auth("vendor"))
        assert answer.status_code == 200, answer.text
    return name


async def under_load(installation: Installation, customer: Customer) -> tuple[set[str], list[str]]:
    """The tokens and the transactions that callers were given while the backup was taken, and after."""
    platform = installation.platform
    tokens: set[str] = set()
    is_over = asyncio.Event()
    async with calling(platform) as http:
        spent = [await spend(platform, http, customer)]

        async def keep_calling() -> None:
            while not is_over.is_set():
                tokens.update(await issue(platform, http))
                spent.append(await spend(platform, http, customer))

        async with asyncio.TaskGroup() as callers:
            for _ in range(4):
                callers.create_task(keep_calling())
            await asyncio.to_thread(installation.back_up)
            known = len(tokens)
            while len(tokens) < known + 10 * BATCH:  # noqa: ASYNC110 — the callers go on until then
                await asyncio.sleep(0.05)
            is_over.set()
    return tokens, spent


async def test_a_restored_platform_repeats_nothing_that_the_world_was_told(
    installation: Installation, tmp_path: Path
) -> None:
    platform = installation.platform
    async with calling(platform) as http:
        customer = await platform.new_customer(http, 1_000_000)
        leaver = await platform.new_customer(http, 100)
    tokens, spent = await under_load(installation, customer)
    erased = installation.command("partner-onboarding", "erase-user", leaver.user_id, "--tenant", "demo")
    assert erased.returncode == 0, erased.stderr
    journal = tmp_path / "erasures.ndjson"
    assert installation.command("partner-onboarding", "list-erasures", str(journal)).returncode == 0

    assert platform.stop() == 0
    installation.destroy()
    installation.start_server()
    installation.restore()
    platform.start()

    assert "keys change" in platform.log("token-service")
    async with calling(platform) as http:
        again: set[str] = set()
        while len(again) < len(tokens):
            again.update(await issue(platform, http))
        assert len(tokens & again) == 0
        assert (await http.get(f"/v1/users/{leaver.user_id}", auth=platform.auth("platform"))).status_code == 200
        repeated = installation.command("partner-onboarding", "repeat-erasures", str(journal))
        assert repeated.returncode == 0, repeated.stderr
        assert json.loads(repeated.stdout)["erased"] == 1
        assert (await http.get(f"/v1/users/{leaver.user_id}", auth=platform.auth("platform"))).status_code == 404
        account, admin = f"/v1/accounts/{leaver.user_id}", platform.auth("platform")
        while (await http.get(account, auth=admin)).json()["available"]:  # noqa: ASYNC110 — a chore closes it
            await asyncio.sleep(0.05)
        # The newest redemptions are lost, and the vendor that asks for them learns it.
        vendor = platform.auth("vendor")
        known = [await http.get(f"/eai/v1/points/{name}", auth=vendor) for name in spent]
        assert (known[0].status_code, known[-1].status_code) == (200, 404)
        deducted = sum(each.json()["state"] == "confirmed" for each in known if each.status_code == 200)
        assert sum(await platform.balance(http, customer.user_id)) == 1_000_000 - deducted
    for service in ("points-ledger", "sso-issuer", "partner-onboarding"):
        verified = installation.command(service, "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_standby_that_takes_over_is_another_database_for_the_keys_of_tokens() -> None:
    """It may lack the last numbers that the primary gave out, and says so from the first write on."""
    with tempfile.TemporaryDirectory(prefix="standby-") as name:
        primary, standby = (EmbeddedPostgres(Path(name) / each) for each in ("primary", "standby"))
        try:
            primary.start()
            url = new_database(primary, "token_service")
            former = in_own_loop(_origin(url))
            standby.follow(primary)
            standby.start()
            primary.kill()
            assert in_own_loop(_promote(standby.url()))
            present = in_own_loop(_origin(url.replace(f":{primary.port}/", f":{standby.port}/")))
        finally:
            primary.stop()
            standby.stop()
    # The cluster is the same, and so are database and table; the timeline is not.
    assert former.partition("/")[0] == present.partition("/")[0]
    assert former != present


async def _origin(url: str) -> str:
    database = Database(url)
    try:
        async with database.transaction() as connection:
            return await store.read_origin(connection)
    finally:
        await database.dispose()


async def _promote(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT pg_promote()"))
    finally:
        await connection.close()
