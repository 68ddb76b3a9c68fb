"""The chain of a tenant's entries: anybody may keep its head, and what is changed behind it is found."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import asyncpg
import httpx
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres, free_port
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import MigratedDatabase, owner_url
from points_ledger.seals.sealed import SEALED_ENTRIES
from points_ledger.tables import entries, seals
from points_ledger.verifying import verify
from shared.db import Database
from shared.seals.checking import Head
from shared.seals.sealing import Sealing
from typer.testing import CliRunner

from .parties import Platform, Vendor

SEALS = "/v1/ledger/seals"


@pytest.fixture
async def owner(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """The role that owns the tables: it can allow itself what the serving role must not do."""
    connection = await asyncpg.connect(owner_url(postgres, "points_ledger"))
    try:
        await connection.execute("GRANT UPDATE, DELETE ON points_ledger.entries TO CURRENT_USER")
        yield connection
        await connection.execute("REVOKE UPDATE, DELETE ON points_ledger.entries FROM CURRENT_USER")
    finally:
        await connection.close()


@pytest.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    database = Database(ledger_url)
    yield database
    await database.dispose()


class Clerk:
    """Seals what was written up to this moment."""

    def __init__(self, owner: asyncpg.Connection, database: Database, tenant: str) -> None:
        self.owner, self.tenant = owner, tenant
        self._sealing = Sealing(database, seals, [replace(SEALED_ENTRIES, margin=timedelta(0))])

    async def seal(self) -> None:
        # Up to the whole millisecond before this one.
        await self.owner.execute("SELECT pg_sleep(0.002)")
        await self.seal_now()

    async def seal_now(self) -> None:
        await self._sealing.seal()


async def found_in(database_url: str, tenant: str, *, heads: Sequence[Head] = ()) -> list[str]:
    """What `verify` names of a tenant: other tests leave books behind that do not add up."""
    return [line for line in (await verify(database_url, heads=heads)).differences if tenant in line]


@pytest.fixture
def clerk(owner: asyncpg.Connection, database: Database, tenant: str) -> Clerk:
    return Clerk(owner, database, tenant)


async def test_the_chain_is_listed_newest_first_and_each_seal_names_the_one_before(
    client: httpx.AsyncClient, platform: Platform, clerk: Clerk, register: FakeRegister
) -> None:
    headers = platform.headers
    assert (await client.get(SEALS, headers=headers)).json() == {"seals": [], "next_cursor": None}
    users = []
    for _ in range(3):
        users.append(await platform.user_with(10))
        await clerk.seal()

    first = (await client.get(SEALS, params={"limit": 2}, headers=headers)).json()
    second = (await client.get(SEALS, params={"limit": 2, "cursor": first["next_cursor"]}, headers=headers)).json()
    found = first["seals"] + second["seals"]
    assert [seal["number"] for seal in found] == [3, 2, 1]
    assert second["next_cursor"] is None
    assert [seal["previous"] for seal in found] == [found[1]["hash"], found[2]["hash"], None]
    assert [seal["entries"] for seal in found] == [1, 1, 1]
    assert [seal["first_entry"]["user_id"] for seal in found] == users[::-1]
    assert found[0]["first_entry"] == found[0]["last_entry"]
    assert found[0]["first_entry"]["number"] == 1
    assert all(len(bytes.fromhex(seal["hash"])) == 32 for seal in found)

    stranger = register.add(f"{clerk.tenant}-2", "points:read")
    assert (await client.get(SEALS, headers=stranger)).json()["seals"] == []
    answer = await client.get(SEALS, params={"cursor": first["next_cursor"]}, headers=stranger)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_every_column_of_an_entry_is_sealed() -> None:
    assert set(SEALED_ENTRIES.columns[SEALED_ENTRIES.version]) == set(entries.columns)


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'other'",
        "created_at = created_at + interval '1 us'",
        "points = points + 1",
        "balance = balance + 1",
        "client_id = 'somebody else'",
        "subject = 'somebody else'",
        "request_id = 'other'",
        "reference = 'other'",
    ],
)
async def test_verify_names_an_entry_that_was_changed(
    platform: Platform, clerk: Clerk, ledger_url: str, change: str
) -> None:
    user = await platform.user_with(10)
    await clerk.seal()
    assert await found_in(ledger_url, clerk.tenant) == []
    async with changed(clerk, f"UPDATE points_ledger.entries SET {change} WHERE tenant = $1"):  # noqa: S608
        named = [line for line in (await verify(ledger_url)).differences if "seal 1" in line]
    assert len(named) == 1
    assert f"entries of tenant {clerk.tenant}, seal 1: user_id {user}, number 1, of" in named[0]
    assert "was changed after it was sealed" in named[0]


async def test_verify_names_an_entry_that_is_missing_or_was_inserted(
    platform: Platform, clerk: Clerk, ledger_url: str
) -> None:
    users = sorted([await platform.user_with(10), await platform.user_with(20)])
    await clerk.seal()
    copy = "tenant, user_id, 2, kind, points, balance + points, source, 'inserted', reason, created_at"
    async with changed(clerk, f"INSERT INTO points_ledger.entries SELECT {copy} FROM points_ledger.entries"  # noqa: S608
                       " WHERE tenant = $1"):  # fmt: skip
        inserted = [line for line in (await verify(ledger_url)).differences if "seal 1" in line]
    assert sorted(line.partition("user_id ")[2].partition(", of")[0] for line in inserted) == [
        f"{user}, number 2" for user in users
    ]
    assert all("was inserted after the seal was written" in line for line in inserted)
    async with changed(clerk, "DELETE FROM points_ledger.entries WHERE tenant = $1"):
        missing = [line for line in (await verify(ledger_url)).differences if "seal 1" in line]
    assert [line.partition("seal 1: ")[2] for line in missing] == ["2 rows are missing at its beginning"]


async def test_verify_notices_a_chain_that_was_written_anew_by_its_head(
    platform: Platform, clerk: Clerk, ledger_url: str
) -> None:
    await platform.user_with(10)
    await clerk.seal()
    (head,) = [head for head in (await verify(ledger_url)).checked.heads if head.tenant == clerk.tenant]
    assert await found_in(ledger_url, clerk.tenant, heads=[head]) == []
    other = Head(head.chain, head.tenant, head.number, "0" * 64)
    assert any("was written anew" in line for line in (await verify(ledger_url, heads=[other])).differences)


async def test_redemptions_and_refunds_are_sealed_as_they_are_made(
    platform: Platform, shop: Vendor, clerk: Clerk, ledger_url: str, owner: asyncpg.Connection
) -> None:
    user = await platform.user_with(100)
    await shop.commit(user, "t", 40)
    await shop.confirm(user, "t")
    await shop.refund(user, "t", "r", 5)
    await clerk.seal()
    count = "SELECT sum(rows) FROM points_ledger.seals WHERE tenant = $1"
    assert await owner.fetchval(count, clerk.tenant) == 3
    assert await found_in(ledger_url, clerk.tenant) == []


def changed(clerk: Clerk, statement: str) -> "Changed":
    """The entries of the tenant are changed by their owner within the block."""
    return Changed(clerk, statement)


class Changed:
    def __init__(self, clerk: Clerk, statement: str) -> None:
        self._clerk, self._statement = clerk, statement

    async def __aenter__(self) -> None:
        owner, tenant = self._clerk.owner, self._clerk.tenant
        await owner.execute("CREATE TEMP TABLE kept AS SELECT * FROM points_ledger.entries WHERE tenant = $1", tenant)
        await owner.execute(self._statement, tenant)

    async def __aexit__(self, *_: object) -> None:
        owner, tenant = self._clerk.owner, self._clerk.tenant
        await owner.execute("DELETE FROM points_ledger.entries WHERE tenant = $1", tenant)
        await owner.execute("INSERT INTO points_ledger.entries SELECT * FROM kept")
        await owner.execute("DROP TABLE kept")


def test_verify_without_a_schema_says_so_in_one_sentence(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    from points_ledger.__main__ import cli

    name, password = f"empty_{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    postgres.create_role_and_database(name, password)
    monkeypatch.setenv("LEDGER_DATABASE_URL", postgres.url(name, name, password))
    result = CliRunner().invoke(cli, ["verify"])
    assert result.exit_code == 2
    assert result.stderr == "Nothing was verified: the database has no such tables yet. Run `migrate` first.\n"


async def test_verify_goes_on_and_serves_its_last_result_as_metrics(young_database: MigratedDatabase) -> None:
    port = free_port()
    command = [sys.executable, "-m", "points_ledger", "verify", "--watch", "--every", "3600", "--port", str(port)]
    environment = os.environ | {"LEDGER_DATABASE_URL": young_database("points_ledger")}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        async with httpx.AsyncClient() as http, asyncio.timeout(60):
            while "verify_last_run_timestamp_seconds{" not in (seen := await _metrics(http, port)):
                assert process.returncode is None
                await asyncio.sleep(0.1)
        assert 'verify_differences{service="points-ledger"} 0.0' in seen
        assert 'chore_failures_total{chore="verify"} 0.0' in seen
    finally:
        process.terminate()
        assert await process.wait() == 0


async def _metrics(http: httpx.AsyncClient, port: int) -> str:
    try:
        return (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx.TransportError:
        return ""


async def test_a_sandbox_that_begins_anew_while_it_is_sealed_begins_its_chain_anew(
    clerk: Clerk, platform: Platform, client: httpx.AsyncClient, service_keys: ServiceKeys, rows: asyncpg.Connection
) -> None:
    headers = service_keys.headers("partner-onboarding", "points-ledger")
    body = {"round": 1, "ahead_ms": 0, "users": [{"user_id": "user-1", "points": 1000}]}
    assert (await client.post(f"/internal/sandboxes/{clerk.tenant}", json=body, headers=headers)).status_code == 200
    await clerk.seal()
    await platform.credit("user-1", 10, "one more")
    is_waited_for = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))"

    async with clerk.owner.transaction():
        assert await clerk.owner.fetchval("SELECT points_ledger.begin_sandbox_anew($1, 2)", clerk.tenant)
        backend = await clerk.owner.fetchval("SELECT pg_backend_pid()")
        sealing = asyncio.create_task(clerk.seal_now())
        async with asyncio.timeout(20):
            while not sealing.done() and not await rows.fetchval(is_waited_for, backend):
                pass
    await sealing

    numbers = "SELECT number FROM points_ledger.seals WHERE tenant = $1 ORDER BY number"
    assert [row[0] for row in await rows.fetch(numbers, clerk.tenant)] in ([], [1])
