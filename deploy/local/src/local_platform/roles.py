"""The roles and databases of the services in a PostgreSQL, whichever it is."""

import asyncpg


async def create_role_and_database(url: str, name: str, password: str, *, owner_password: str | None = None) -> None:
    """A login role and the database of the same name, which it owns. Again: only the password is set.

    Args:
        url: of a superuser.
        owner_password: of the role `<name>_owner`, which owns the database and all in it instead. What the first
            role owned before is handed over.
    """
    connection = await asyncpg.connect(url)

    async def run(template: str, *values: str) -> None:
        await _run(connection, template, *values)

    async def put_role(role: str, its_password: str) -> None:
        known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
        await run(f"{'ALTER' if known else 'CREATE'} ROLE %I LOGIN PASSWORD %L", role, its_password)

    owner = name if owner_password is None else f"{name}_owner"
    try:
        await put_role(name, password)
        if owner_password is not None:
            await put_role(owner, owner_password)
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await run("CREATE DATABASE %I OWNER %I", name, owner)
        await run("REVOKE ALL ON DATABASE %I FROM PUBLIC", name)
        if owner != name:
            await run("ALTER DATABASE %I OWNER TO %I", name, owner)
            # Temporary tables are its own, and leave nothing behind.
            await run("GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", name, name)
    finally:
        await connection.close()
    if owner != name:
        within = await asyncpg.connect(url, database=name)
        try:
            await _run(within, "REASSIGN OWNED BY %I TO %I", name, owner)
        finally:
            await within.close()


async def _run(connection: asyncpg.Connection, template: str, *values: str) -> None:
    # Statements like these take no parameters; the server itself does the quoting.
    places = "".join(f", ${number}::text" for number in range(2, len(values) + 2))
    # nosemgrep: sql-in-f-string — only the numbers of parameters go in
    await connection.execute(await connection.fetchval(f"SELECT format($1{places})", template, *values))
