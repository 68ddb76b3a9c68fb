"""Indexes that are built while the service writes: `CREATE INDEX CONCURRENTLY`, after the migrations.

A migration would keep every writer of the table waiting for as long as the index takes. Building may be interrupted:
what is left of it is removed, and the next `migrate` builds it.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateIndex, DropIndex

from shared.tables import is_built_beside

#: Whether an index is good, or somebody is building it.
_VALID = sa.text(
    "SELECT c.relname, i.indisvalid OR EXISTS (SELECT FROM pg_stat_progress_create_index p"
    " WHERE p.index_relid = i.indexrelid) AS is_valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema"
)


async def build_indexes(engine: AsyncEngine, metadata: sa.MetaData) -> None:
    """Builds those that are `shared.tables.built_beside` and not there yet."""
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
        found = await outside.execute(_VALID, {"schema": metadata.schema})
        valid: dict[str, bool] = {row.relname: row.is_valid for row in found}
        present = await connection.run_sync(lambda one: set(sa.inspect(one).get_table_names(metadata.schema)))
        for index in wanted:
            name = str(index.name)
            if index.table is None or index.table.name not in present or valid.get(name):
                continue
            if name in valid:
                await outside.execute(DropIndex(index))
            index.dialect_options["postgresql"]["concurrently"] = True
            try:
                await outside.execute(CreateIndex(index, if_not_exists=True))
            finally:
                index.dialect_options["postgresql"]["concurrently"] = False
