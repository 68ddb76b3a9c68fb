"""Distributes a service's tables by tenant over the servers of a Citus cluster: its command `distribute`.

    python -m points_ledger migrate
    python -m points_ledger distribute --dry-run
    python -m points_ledger distribute

All rows of a tenant lie in one shard, those of all tables together, and a service's functions run where these lie. The
command may be repeated, and must be after each upgrade: it leaves alone what is distributed.
"""

import asyncio
import sys
from collections.abc import Callable, Collection
from typing import Annotated, Final, NoReturn

import sqlalchemy as sa
import typer
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from shared.database_url import DatabaseUrl
from shared.distributed_functions import functions_of
from shared.migration_failures import cause_of, place_of
from shared.settings import DatabaseSettings, ServiceSettings, load_database_settings
from shared.tables import is_for_all_tenants

_TENANT: Final = "tenant"
_HAS_CITUS: Final = sa.text("SELECT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'create_distributed_table')")
_DISTRIBUTED: Final = sa.text(
    "SELECT c.relname FROM pg_dist_partition p JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema"
)
#: Citus knows each function that is created, but runs only these on the servers of the tenants.
_RUN_AT_TENANTS: Final = sa.text(
    "SELECT p.proname FROM pg_dist_object d JOIN pg_catalog.pg_proc p ON p.oid = d.objid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = :schema"
    " AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.distribution_argument_index IS NOT NULL"
)


class CannotDistribute(Exception):
    """The text is one sentence about what the operator has to mend. Nothing was changed."""


def plan(metadata: sa.MetaData, distributed: Collection[str] = ()) -> list[str]:
    """The statements that distribute the tables and their functions, in their order.

    Args:
        distributed: the names of the tables and functions that are distributed already.
    """
    by_tenant = [table for table in metadata.sorted_tables if not is_for_all_tenants(table.info)]
    shared = [table for table in metadata.sorted_tables if is_for_all_tenants(table.info)]
    statements = [f"SELECT create_reference_table('{_name(one)}')" for one in shared if one.name not in distributed]
    # All others lie where the rows of the first one lie. Tables come after those that they refer to.
    first = next((one for one in by_tenant if one.name in distributed), by_tenant[0])
    for table in [first, *(one for one in by_tenant if one is not first)]:
        if table.name not in distributed:
            beside = "none" if table is first else _name(first)
            statements.append(
                f"SELECT create_distributed_table('{_name(table)}', '{_TENANT}', colocate_with => '{beside}')"
            )
    for function in functions_of(metadata):
        if function.name not in distributed:
            # Forced, since a batch is a transaction of several statements: in one, Citus runs no other function there.
            statements += [
                function.made_by,
                f"SELECT create_distributed_function('{function.signature}', '$1', colocate_with => '{_name(first)}',"
                " force_delegation => true)",
            ]
    return statements


def _name(table: sa.Table) -> str:
    return f"{table.schema}.{table.name}"


async def distribute(url: str, package: str, metadata: sa.MetaData, told: Callable[[str], None]) -> None:
    """Distributes what is not distributed yet.

    Args:
        told: called with each statement before it is carried out.

    Raises:
        CannotDistribute: see there.
    """
    engine = DatabaseUrl(url).engine(poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            distributed = await _look(connection, url, package, metadata)
        for statement in plan(metadata, distributed):
            told(statement)
            # Each by itself: what is done stays done if a later one fails, and is not done again.
            async with engine.begin() as connection:
                await connection.exec_driver_sql(statement)
    except (OSError, TimeoutError, sa.exc.SQLAlchemyError) as error:
        if (sentence := cause_of(error, url)) is not None:
            raise CannotDistribute(sentence) from error
        raise
    finally:
        await engine.dispose()


async def _look(connection: AsyncConnection, url: str, package: str, metadata: sa.MetaData) -> set[str]:
    """The names of the tables and functions that are distributed."""
    # Alembic, which no other command needs.
    from shared.migrating import head_of  # noqa: PLC0415

    if not (await connection.execute(_HAS_CITUS)).scalar_one():
        raise CannotDistribute(
            f"{place_of(url)} has no extension citus: create it there and add the workers, then distribute again"
        )
    revision = None
    if await connection.run_sync(lambda one: sa.inspect(one).has_table("alembic_version", metadata.schema)):
        present = sa.table("alembic_version", sa.column("version_num"), schema=metadata.schema)
        revision = (await connection.execute(sa.select(present.c.version_num))).scalar_one_or_none()
    if revision != head_of(package):
        raise CannotDistribute(f"the schema is at revision {revision or 'none'}: migrate first")
    schema = {"schema": metadata.schema}
    found = set((await connection.execute(_DISTRIBUTED, schema)).scalars())
    if functions_of(metadata):
        found |= set((await connection.execute(_RUN_AT_TENANTS, schema)).scalars())
    return found


def distribute_command(
    settings_class: type[ServiceSettings], package: str, metadata: sa.MetaData
) -> Callable[[bool], None]:
    """`python -m <service> distribute`."""

    def distribute_all(
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what a new cluster needs.")] = False,
    ) -> None:
        """Distribute the tables by tenant over a Citus cluster; prints its statements. May be repeated."""
        if dry_run:
            for statement in plan(metadata):
                typer.echo(f"{statement};")
            return
        url = _owner_of(load_database_settings(settings_class))
        try:
            asyncio.run(distribute(url, package, metadata, lambda statement: typer.echo(f"{statement};")))
        except CannotDistribute as failure:
            _end(f"{package}: cannot distribute: {failure}")

    return distribute_all


def _owner_of(settings: DatabaseSettings) -> str:
    return (settings.migration_database_url or settings.database_url).get_secret_value()


def _end(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(1) from None
