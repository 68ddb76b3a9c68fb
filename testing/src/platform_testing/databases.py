"""Databases as the real migrations build them."""

import asyncio
import secrets
from collections.abc import Callable

from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from shared.migrating import upgrade

#: package → URL of its database
MigratedDatabase = Callable[[str], str]


def new_database(server: EmbeddedPostgres, package: str, name: str | None = None) -> str:
    """The URL of a database that the real migrations of `package` have just built, under a role of its own.

    Args:
        name: of database and role; the package's if None.
    """
    password = secrets.token_urlsafe(16)
    name = name or package
    server.create_role_and_database(name, password)
    url = server.url(name, name, password)
    # In a thread of its own: the migrations make an event loop, and the test may run in one already.
    in_own_loop(asyncio.to_thread(upgrade, url, package))
    return url
