"""Migrations of a service's own schema, for the command line, the tests and containers.

A service's `migrations/env.py` is two lines: it calls `run_migrations(metadata)`. Two replicas that start at once
take turns (a lock that ends with the transaction). No migration waits long for a lock that requests need: it lets them
pass, and tries again.

An index on a table with many rows is no migration: `shared.tables.built_beside` says that it is built while the service
writes, after the migrations.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import sqlalchemy as sa
from alembic import command, context
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment

from shared.database_url import DatabaseUrl
from shared.indexes import build_indexes
from shared.migration_failures import MigrationFailed, cause_of, is_lock_timeout
from shared.sandboxes.functions import functions_of, privileges_of
from shared.settings import DatabaseSettings
from shared.tables import forgetting_function, forgotten_of, is_append_only, is_of_owner

#: A statement that waits for a lock of a table stops all that come after it, readers too.
_LOCK_TIMEOUT: Final = "1500ms"
_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 1.0


def migrate(settings: DatabaseSettings, package: str) -> None:
    """Brings the service's schema to the newest revision: its command `migrate`.

    A failure that the operator can mend is one sentence on standard error, and status 1.

    If the settings name a role for migrations, it owns the schema and its tables, and the role that serves is granted
    what it must do: it reads, inserts, changes and deletes, but in tables that are append-only it reads and inserts.
    """
    serving = settings.database_url.get_secret_value()
    try:
        if settings.migration_database_url is None:
            upgrade(serving, package)
        else:
            migrating = settings.migration_database_url.get_secret_value()
            upgrade(migrating, package, serving_role=DatabaseUrl(serving).role)
    except MigrationFailed as failure:
        _end(f"{package}: cannot migrate: {failure}")


def _end(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(1) from None


def upgrade(
    database_url: str,
    package: str,
    revision: str = "head",
    *,
    serving_role: str | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Brings the schema of `package` to `revision`. Do not call it from a running event loop.

    While a transaction keeps a lock that a step needs, it is tried again, ten times in all. A schema that a newer
    version has migrated stays as it is.

    Args:
        serving_role: the role that serves, if another one migrates.
        pause: waits between two attempts; handed in by tests.

    Raises:
        MigrationFailed: with one sentence about what the operator has to mend. Nothing was changed.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            command.upgrade(_config(package, database_url, serving_role), revision)
        except Exception as error:
            if is_lock_timeout(error) and attempt < _ATTEMPTS:
                sys.stderr.write(f"{package}: a lock is held; attempt {attempt} of {_ATTEMPTS} gave way\n")
                # Jitter: not a secret.
                pause(_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  # nosec B311
                continue
            if (sentence := cause_of(error, database_url)) is not None:
                raise MigrationFailed(sentence) from error
            raise
        else:
            return


def downgrade(database_url: str, package: str, revision: str) -> None:
    """Takes the schema of `package` back to `revision`; `base` removes everything."""
    command.downgrade(_config(package, database_url), revision)


def head_of(package: str) -> str | None:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config(package)).get_current_head()


def create_tables(op: Any, tables: Iterable[sa.Table]) -> None:
    """Creates tables as they are defined in code, with their indexes: for a migration, with Alembic's `op`."""
    for table in tables:
        op.execute(CreateTable(table))
        for column in table.columns:
            if column.comment is not None:
                op.execute(SetColumnComment(column))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            op.execute(CreateIndex(index))


def run_migrations(metadata: sa.MetaData) -> None:
    """What an `env.py` calls. The schema is the metadata's, and Alembic's own table lies in it."""
    schema = metadata.schema
    assert schema is not None, "a service's metadata names its schema"  # noqa: S101 — a mistake of ours
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql",
            target_metadata=metadata,
            version_table_schema=schema,
            literal_binds=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    asyncio.run(_run_online(metadata, schema))


async def _run_online(metadata: sa.MetaData, schema: str) -> None:
    engine = DatabaseUrl(context.config.get_main_option("sqlalchemy.url") or "").engine(poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            is_of_newer = await connection.run_sync(_run, metadata, schema)
        if not is_of_newer and context.get_revision_argument() == context.get_head_revision():
            await build_indexes(engine, metadata)
    finally:
        await engine.dispose()


def _run(connection: sa.Connection, metadata: sa.MetaData, schema: str) -> bool:
    """Returns whether a newer version has migrated the schema, which then stays as it is."""
    # The lock ends with the transaction. A session's advisory lock would not work behind PgBouncer.
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"migrate {schema}"))))
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=schema,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == schema,
        compare_server_default=True,
    )
    if (newer := _newer_revision()) is not None:
        # The images of a version that is rolled back to begin with `migrate`, and that version runs on this schema.
        sys.stderr.write(f"{schema}: the schema is at revision {newer} of a newer version, and stays as it is\n")
        return True
    with context.begin_transaction():
        context.run_migrations()
    _make_forgetting(connection, metadata, schema)
    for statement in functions_of(metadata, sa.inspect(connection).get_table_names(schema)):
        connection.exec_driver_sql(statement)
    serving_role = context.config.get_main_option("serving_role")
    if serving_role:
        _grant(connection, metadata, schema, serving_role)
    return False


def _newer_revision() -> str | None:
    """The schema's revision, if it comes after all that this version knows, and the newest is asked for."""
    present, head = context.get_context().get_current_revision(), context.get_head_revision()
    if present is None or not isinstance(head, str) or context.get_revision_argument() != head or present <= head:
        return None
    return None if present in {known.revision for known in context.script.walk_revisions()} else present


def _make_forgetting(connection: sa.Connection, metadata: sa.MetaData, schema: str) -> None:
    """The functions with which the role that serves deletes old rows of append-only tables; see `shared.retention`.

    They run as the tables' owner, and leave what is younger than a day in any case.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    present = set(sa.inspect(connection).get_table_names(schema))
    for table in metadata.sorted_tables:
        forgotten = forgotten_of(table.info)
        if forgotten is None or table.name not in present:
            continue
        place = f"{quote(schema)}.{quote(table.name)}"
        function = f"{quote(schema)}.{quote(forgetting_function(table.name))}"
        key = ", ".join(quote(column.name) for column in table.primary_key.columns)
        statements = [
            # All names and conditions are our own.
            f"""CREATE OR REPLACE FUNCTION {function}(kept interval, at_most integer) RETURNS bigint
                LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
                WITH gone AS (
                    DELETE FROM {place} WHERE ({key}) IN (
                        SELECT {key} FROM {place} AS t
                        WHERE t.{quote(forgotten.by)} < now() - greatest(kept, interval '1 day')
                          AND NOT ({forgotten.unless})
                        LIMIT at_most
                    ) RETURNING 1
                ) SELECT count(*) FROM gone $body$""",  # noqa: S608
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
        ]
        for statement in statements:
            connection.exec_driver_sql(statement)


def _grant(connection: sa.Connection, metadata: sa.MetaData, schema: str, role: str) -> None:
    """Gives `role` what it must do in the schema, and takes away everything else.

    In a table that is `shared.tables.append_only` it may change nothing, and delete old rows by their function alone.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    name, within = quote(role), quote(schema)
    present = set(sa.inspect(connection).get_table_names(schema))
    statements = [
        f"REVOKE ALL ON SCHEMA {within} FROM {name}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {within} FROM {name}",
        f"GRANT USAGE ON SCHEMA {within} TO {name}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {within} TO {name}",
        # Whether the schema is up to date, for /readyz.
        f"GRANT SELECT ON {within}.alembic_version TO {name}",
    ]
    for table in metadata.sorted_tables:
        if table.name in present:
            statements.append(f"GRANT {_privileges(table)} ON {within}.{quote(table.name)} TO {name}")
            if forgotten_of(table.info) is not None:
                function = f"{within}.{quote(forgetting_function(table.name))}(interval, integer)"
                statements.append(f"GRANT EXECUTE ON FUNCTION {function} TO {name}")
    statements += privileges_of(metadata, present, name)
    for statement in statements:
        # Names are quoted; statements like these take no parameters.
        connection.exec_driver_sql(statement)


def _privileges(table: sa.Table) -> str:
    if is_of_owner(table.info):
        return "SELECT"
    return "SELECT, INSERT" if is_append_only(table.info) else "SELECT, INSERT, UPDATE, DELETE"


def differences(connection: sa.Connection, metadata: sa.MetaData) -> list[object]:
    """The differences between the migrated database and `metadata`; empty if the migrations are complete."""
    # For a role with the schema's name, "$user" makes the schema the default, and Alembic would take its tables for
    # tables without a schema.
    connection.execute(sa.text("SET LOCAL search_path TO public"))
    connection.dialect.default_schema_name = "public"
    migration_context = MigrationContext.configure(
        connection,
        opts={
            "version_table_schema": metadata.schema,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == metadata.schema,
        },
    )
    return list(compare_metadata(migration_context, metadata))


def _config(package: str, database_url: str | None = None, serving_role: str | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    if database_url is not None:
        config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    if serving_role is not None:
        config.set_main_option("serving_role", serving_role.replace("%", "%%"))
    return config
