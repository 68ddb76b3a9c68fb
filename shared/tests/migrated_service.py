"""A package with migrations of its own, and a database for it."""

import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from shared.database_url import DatabaseUrl
from shared.indexes import build_indexes
from shared.tables import built_beside

ENV = """
import sqlalchemy as sa
from shared.migrating import run_migrations
from shared.tables import built_beside

metadata = sa.MetaData(schema="{package}")
sa.Table("notes", metadata, sa.Column("id", sa.Text, primary_key=True), sa.Column("text", sa.Text){index})
run_migrations(metadata)
"""
REVISION = '''
"""A step."""

from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {before!r}, None, None


def upgrade():
    op.execute({up!r})


def downgrade():
    op.execute({down!r})
'''
FIRST, SECOND = "2026_01_01_0001", "2026_02_01_0001"


class Service:
    """A package with migrations, and a database for it."""

    def __init__(self, directory: Path, postgres: EmbeddedPostgres) -> None:
        self.package = f"sample_{secrets.token_hex(4)}"
        self._versions = directory / self.package / "migrations" / "versions"
        self._versions.mkdir(parents=True)
        (directory / self.package / "__init__.py").touch()
        self.index(None)
        postgres.create_role_and_database(self.package, "password")
        self.url = postgres.url(self.package, self.package, "password")

    def add(self, revision: str, before: str | None, up: str, down: str = "SELECT 1") -> None:
        text = REVISION.format(revision=revision, before=before, up=up, down=down)
        (self._versions / f"{revision}.py").write_text(text)

    def index(self, name: str | None, instead_of: Collection[str] = ()) -> None:
        """Whether the code has an index on `text` that is built beside."""
        info = f"built_beside(instead_of={instead_of!r})"
        index = "" if name is None else f', sa.Index("{name}", "text", info={info})'
        (self._versions.parent / "env.py").write_text(ENV.format(package=self.package, index=index))

    def indexes(self) -> dict[str, bool]:
        """Name → whether it can be used; but for the primary key."""
        found = self.ask(
            "SELECT c.relname || ' ' || i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE c.relnamespace = current_schema()::regnamespace AND NOT i.indisprimary"
        )
        return {name: valid == "true" for name, _, valid in (each.partition(" ") for each in found)}

    def forget(self, revision: str) -> None:
        (self._versions / f"{revision}.py").unlink()

    def add_both(self) -> None:
        table = f"{self.package}.notes"
        self.add(FIRST, None, f"CREATE TABLE {table} (id text PRIMARY KEY)", f"DROP TABLE {table}")
        self.add(SECOND, FIRST, f"ALTER TABLE {table} ADD text text", f"ALTER TABLE {table} DROP text")

    def revision(self) -> str:
        (present,) = self.ask(f"SELECT version_num FROM {self.package}.alembic_version")  # noqa: S608 — our own name
        return present

    def columns(self) -> list[str]:
        return self.ask("SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' ORDER BY 1")

    async def build_again(self, name: str, instead_of: Collection[str]) -> None:
        """What a second `migrate` does at its end: Alembic lets no two of them run in one process."""
        metadata = sa.MetaData(schema=self.package)
        index = sa.Index(name, "text", info=built_beside(instead_of=instead_of))
        sa.Table("notes", metadata, sa.Column("id", sa.Text, primary_key=True), sa.Column("text", sa.Text), index)
        engine = DatabaseUrl(self.url).engine()
        await build_indexes(engine, metadata)
        await engine.dispose()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that is committed at the end."""
        connection = await asyncpg.connect(self.url, server_settings={"search_path": self.package})
        async with connection.transaction():
            yield connection
        await connection.close()

    def ask(self, query: str) -> list[str]:
        async def run() -> list[str]:
            connection = await asyncpg.connect(self.url, server_settings={"search_path": self.package})
            try:
                return [row[0] for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return in_own_loop(run())
