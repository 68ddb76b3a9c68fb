"""What `distribute` sends to a Citus cluster. There is none here: three functions of its names note their calls."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa
import typer
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import new_database, owner_url
from platform_testing.plans import connected
from points_ledger.settings import Settings
from points_ledger.tables import metadata
from shared.db import Database
from shared.distributed_functions import (
    DistributedFunction,
    Part,
    check_functions,
    functions_of,
    with_functions,
    writing,
)
from shared.distributing import CannotDistribute, distribute, distribute_command, plan
from shared.errors import Unavailable
from shared.tables import for_all_tenants
from typer.testing import CliRunner

# With the parameters of Citus 14 that the command uses, and its tables of what is distributed.
_STAND_IN = """
CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char");
CREATE TABLE pg_dist_object (classid oid, objid oid, distribution_argument_index int, force_delegation bool);
CREATE TABLE calls (n serial, called text);
CREATE FUNCTION create_distributed_table(
    table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
    colocate_with text DEFAULT 'default'
) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = table_name) THEN
        RAISE EXCEPTION 'table % is already distributed', table_name;
    END IF;
    IF colocate_with <> 'none'
       AND NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass) THEN
        RAISE EXCEPTION 'relation % is not distributed', colocate_with;
    END IF;
    IF EXISTS (
        SELECT FROM pg_constraint c WHERE c.conrelid = table_name AND c.contype = 'f' AND c.confrelid <> table_name
           AND NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = c.confrelid)
    ) THEN
        RAISE EXCEPTION 'table % refers to a table that is not distributed', table_name;
    END IF;
    INSERT INTO pg_dist_partition VALUES (table_name, 'h');
    INSERT INTO calls (called) VALUES (table_name || ' by ' || distribution_column || ' with ' || colocate_with);
END $$;
CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO pg_dist_partition VALUES (table_name, 'n');
    INSERT INTO calls (called) VALUES (table_name || ' everywhere');
END $$;
CREATE FUNCTION create_distributed_function(
    function_name regprocedure, distribution_arg_name text DEFAULT NULL, colocate_with text DEFAULT 'default',
    force_delegation bool DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass) THEN
        RAISE EXCEPTION 'relation % is not distributed', colocate_with;
    END IF;
    INSERT INTO pg_dist_object
    VALUES ('pg_proc'::regclass, function_name, ltrim(distribution_arg_name, '$')::int - 1, force_delegation);
    INSERT INTO calls (called)
    SELECT p.proname || ' by a ' || p.proargtypes[ltrim(distribution_arg_name, '$')::int - 1]::regtype || ' with '
           || colocate_with || CASE WHEN force_delegation THEN ', also in a transaction' ELSE '' END
      FROM pg_proc p WHERE p.oid = function_name;
END $$;
"""


@pytest.fixture(scope="module")
def bare_url(postgres: EmbeddedPostgres) -> str:
    """A ledger's database, as its owner sees it."""
    new_database(postgres, "points_ledger", "points_ledger_spread")
    return owner_url(postgres, "points_ledger_spread")


@pytest.fixture
async def cluster(bare_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The same with the stand-in, until the test ends."""
    async with connected(bare_url) as owner:
        # A role's own schema comes first where it looks.
        await owner.execute("CREATE SCHEMA points_ledger_spread_owner")
        await owner.execute(_STAND_IN)
        try:
            yield owner
        finally:
            await owner.execute("DROP SCHEMA points_ledger_spread_owner CASCADE")


async def calls(cluster: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await cluster.fetch("SELECT called FROM calls ORDER BY n")]


async def test_all_tables_are_distributed_by_tenant_beside_each_other(
    bare_url: str, cluster: asyncpg.Connection
) -> None:
    told: list[str] = []

    await distribute(bare_url, "points_ledger", metadata, told.append)

    tables = [f"points_ledger.{table.name}" for table in metadata.sorted_tables]
    called = (await calls(cluster))[: len(tables)]
    assert [call.partition(" ")[0] for call in called] == tables
    assert called[0] == f"{tables[0]} by tenant with none"
    assert {call.partition(" ")[2] for call in called[1:]} == {f"by tenant with {tables[0]}"}
    assert told == plan(metadata)


async def test_it_may_be_repeated_and_goes_on_where_it_was_stopped(bare_url: str, cluster: asyncpg.Connection) -> None:
    whole = plan(metadata)
    for statement in whole[:3]:
        await cluster.execute(statement)
    told: list[str] = []

    await distribute(bare_url, "points_ledger", metadata, told.append)
    assert told == whole[3:]

    told.clear()
    await distribute(bare_url, "points_ledger", metadata, told.append)
    assert told == []


async def test_writes_run_where_the_rows_of_their_tenant_lie(bare_url: str, cluster: asyncpg.Connection) -> None:
    first = metadata.sorted_tables[0].name
    functions = functions_of(metadata)
    for function in functions:
        await cluster.execute(f"DROP FUNCTION {function.signature}")

    await distribute(bare_url, "points_ledger", metadata, lambda _: None)

    assert (await calls(cluster))[-len(functions) :] == [
        f"{function.name} by a text with points_ledger.{first}, also in a transaction" for function in functions
    ]


async def test_the_functions_of_a_later_release_are_made_beside_those_of_the_former(
    bare_url: str, cluster: asyncpg.Connection
) -> None:
    former = functions_of(metadata)
    await distribute(bare_url, "points_ledger", metadata, lambda _: None)
    later = sa.MetaData(schema="points_ledger", info=with_functions(another_writing()))
    sa.Table("accounts", later, sa.Column("tenant", sa.Text, primary_key=True))
    told: list[str] = []

    await distribute(bare_url, "points_ledger", later, told.append)

    (new,) = functions_of(later)
    assert told == [new.made_by, told[1]]
    assert new.signature in told[1]
    for function in (*former, new):
        assert await cluster.fetchval("SELECT to_regprocedure($1) IS NOT NULL", function.signature), function
    await cluster.execute(f"DROP FUNCTION {new.signature}")


def another_writing() -> DistributedFunction:
    part = Part("kept", "UPDATE points_ledger.accounts a SET held = 0 WHERE a.tenant = «a» AND $1 <> '{}'", 1)
    _, function = writing("points_ledger", "write_changes", [part], ["text[]"])
    return function


async def test_a_service_is_not_ready_before_its_functions_are_made(bare_url: str, cluster: asyncpg.Connection) -> None:
    database = Database(bare_url, is_distributed=True)
    try:
        await check_functions(database, metadata)
        gone = functions_of(metadata)[0]
        await cluster.execute(f"DROP FUNCTION {gone.signature}")
        with pytest.raises(Unavailable, match=f"{gone.name} is missing: `distribute` makes it"):
            await check_functions(database, metadata)
        await cluster.execute(gone.made_by)
    finally:
        await database.dispose()


async def test_without_the_extension_it_is_refused_in_one_sentence(
    bare_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", bare_url)
    cli = typer.Typer()
    cli.command()(distribute_command(Settings, "points_ledger", metadata))

    ended = await asyncio.to_thread(CliRunner().invoke, cli, [])

    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "the database points_ledger_spread at 127.0.0.1" in ended.stderr
    assert "has no extension citus" in ended.stderr


async def test_a_schema_that_is_not_up_to_date_is_refused(bare_url: str, cluster: asyncpg.Connection) -> None:
    await cluster.execute("CREATE TABLE kept AS SELECT version_num FROM points_ledger.alembic_version")
    await cluster.execute("UPDATE points_ledger.alembic_version SET version_num = '0001'")
    try:
        with pytest.raises(CannotDistribute, match="at revision 0001: migrate first"):
            await distribute(bare_url, "points_ledger", metadata, print)
    finally:
        await cluster.execute("UPDATE points_ledger.alembic_version SET version_num = (SELECT version_num FROM kept)")
    assert await calls(cluster) == []


def test_a_dry_run_prints_the_plan_and_needs_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEDGER_DATABASE_URL", raising=False)
    cli = typer.Typer()
    cli.command()(distribute_command(Settings, "points_ledger", metadata))

    ended = CliRunner().invoke(cli, ["--dry-run"])

    assert ended.exit_code == 0
    assert ended.stdout == "".join(f"{statement};\n" for statement in plan(metadata))


def test_what_is_looked_up_without_a_tenant_lies_everywhere_before_others_refer_to_it() -> None:
    house = sa.MetaData(schema="house")
    sa.Table("rooms", house, sa.Column("tenant", sa.Text, primary_key=True))
    sa.Table("windows", house, sa.Column("window", sa.Text, primary_key=True), info=for_all_tenants())

    assert plan(house) == [
        "SELECT create_reference_table('house.windows')",
        "SELECT create_distributed_table('house.rooms', 'tenant', colocate_with => 'none')",
    ]
