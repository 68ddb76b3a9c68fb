"""Indexes that are built while the service writes: `CREATE INDEX CONCURRENTLY`, after the migrations.

A migration would keep every writer of the table waiting for as long as the index takes. Building may be interrupted:
what is left of it is removed, and the next `migrate` builds it. The former version reads by those whose place it takes,
and still runs when it is built: the next `migrate` drops them, and that keeps nobody waiting, either.
"""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateIndex, DropIndex

from shared.tables import formers_of, is_built_beside

_STATES = sa.text(
    "SELECT c.relname, i.indisvalid, EXISTS (SELECT FROM pg_stat_progress_create_index p"
    " WHERE p.index_relid = i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema"
)


class _State(NamedTuple):
    is_valid: bool
    #: By somebody, who does the rest as well.
    is_being_built: bool


async def build_indexes(engine: AsyncEngine, metadata: sa.MetaData) -> None:
    """Builds those that are `shared.tables.built_beside` and not there yet; drops those whose place was taken before.

    Where a table is empty, nobody reads it by an index: those of a new database are dropped at once.
    """
    wanted = [
        index
        for table in metadata.sorted_tables
        for index in sorted(table.indexes, key=lambda one: str(one.name))
        if is_built_beside(index.info)
    ]
    if not wanted:
        return
    async with engine.connect() as connection:
        outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
        states = await _read_states(outside, metadata.schema)
        present = await connection.run_sync(lambda one: set(sa.inspect(one).get_table_names(metadata.schema)))
        for index in wanted:
            if index.table is not None and index.table.name in present:
                await _build(outside, index, states.get(str(index.name)))
        for index in wanted:
            formers = [former for former in formers_of(index.info) if former in states]
            was_there = states.get(str(index.name)) == _State(is_valid=True, is_being_built=False)
            if formers and (was_there or await _is_empty(outside, index)):
                for former in formers:
                    place = f"{_quoted(outside, metadata.schema)}.{_quoted(outside, former)}"
                    # nosemgrep: sql-in-f-string — the names are the code's own, and quoted
                    await outside.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {place}")


async def _build(outside: AsyncConnection, index: sa.Index, state: _State | None) -> None:
    if state is not None and (state.is_valid or state.is_being_built):
        return
    if state is not None:
        await outside.execute(DropIndex(index))
    index.dialect_options["postgresql"]["concurrently"] = True
    try:
        await outside.execute(CreateIndex(index, if_not_exists=True))
    finally:
        index.dialect_options["postgresql"]["concurrently"] = False


async def _is_empty(outside: AsyncConnection, index: sa.Index) -> bool:
    if index.table is None:
        return True
    return not (await outside.execute(sa.select(sa.select(index.table).exists()))).scalar_one()


async def _read_states(outside: AsyncConnection, schema: str | None) -> dict[str, _State]:
    rows = await outside.execute(_STATES, {"schema": schema})
    return {name: _State(*state) for name, *state in rows}


def _quoted(outside: AsyncConnection, name: str | None) -> str:
    return outside.dialect.identifier_preparer.quote_identifier(str(name))
