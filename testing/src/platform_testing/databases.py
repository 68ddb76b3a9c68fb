"""Databases as the real migrations build them."""

import asyncio
import importlib
import os
import secrets
from collections.abc import Callable
from typing import Any

import asyncpg
from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from shared.distributed_functions import functions_of
from shared.migrating import upgrade

_OWNER_PASSWORD = secrets.token_urlsafe(16)

#: package → URL of its database
MigratedDatabase = Callable[[str], str]


def new_database(server: EmbeddedPostgres, package: str, name: str | None = None) -> str:
    """The URL of a database that the real migrations of `package` have just built.

    It is that of the role that serves, which owns nothing; `owner_url` gives that of the role that migrates. The
    functions are there that `distribute` makes, for services whose tables count as distributed.

    Args:
        name: of database and role; the package's if None.
    """
    password = secrets.token_urlsafe(16)
    name = name or package
    server.create_role_and_database(name, password, owner_password=_OWNER_PASSWORD)
    # In a thread of its own: the migrations make an event loop, and the test may run in one already.
    in_own_loop(asyncio.to_thread(upgrade, owner_url(server, name), package, serving_role=name))
    in_own_loop(_make_functions(owner_url(server, name), package))
    return server.url(name, name, password)


async def _make_functions(url: str, package: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for function in functions_of(importlib.import_module(f"{package}.tables").metadata):
            await connection.execute(function.made_by)
    finally:
        await connection.close()


def owner_url(server: EmbeddedPostgres, name: str) -> str:
    """The URL by which the role connects that owns the tables of a database that `new_database` made."""
    return server.url(name, f"{name}_owner", _OWNER_PASSWORD)


def alone_with(table: str) -> str:
    """The statement that waits until no other transaction has rows of the table locked, and keeps others from it until
    this one ends.

    For tests that change several rows beside a running service: each would lock them in its own order, and the
    server would end one of the two as a deadlock.
    """
    return f"LOCK TABLE {table} IN EXCLUSIVE MODE"


def on_a_busy_machine(url: str) -> dict[str, Any]:
    """Settings of a service that waits long for its database at `url`, since tests beside it keep the machine busy.

    Tests of a database that hangs set these times themselves.
    """
    return {
        "database_url": f"{url}?connect_timeout=60",
        "database_wait_seconds": 60,
        "database_statement_seconds": 60,
        # As where the tables are distributed: each batch of one tenant, and its statements with that tenant.
        "database_distributed": os.environ.get("TESTS_AS_DISTRIBUTED", "false"),
    }
