"""Statements of batches that have two texts: for a batch of one tenant, and for one of several.

Where the tables are distributed by tenant, a batch is of one tenant, and the tenant is the statement's last parameter:
from it the server knows the one shard that has all the rows. Where one server has all tables, a batch takes whatever
waits, and each of its rows says its tenant.

    LOCK = statement("SELECT … FROM unnest($1::text[], $2::text[]) AS wanted (tenant, user_id)"
                     " JOIN … a ON a.tenant = «wanted» AND a.user_id = wanted.user_id", 2)

    await fetch(connection, LOCK, "demo", tenants, user_ids)   # a.tenant = $3::text
    await fetch(connection, LOCK, None, tenants, user_ids)     # a.tenant = wanted.tenant
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import asyncpg

#: Ends every text that is sent only where one server has all tables.
ON_ONE_SERVER: Final = "/* on one server */"
_TENANT_OF: Final = re.compile(r"«(\w+)»")


class DistributedConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg does not type it
    """A connection to a database whose tables are distributed by tenant."""

    __slots__ = ()


def only_tenant(connection: asyncpg.Connection, tenants: Iterable[str]) -> str | None:
    """The tenant that the statements of a batch must name: that of all its rows, or None where they may have several.

    Raises:
        ValueError: a batch for distributed tables has several.
    """
    # Not `isinstance`: asyncpg says of any of its connections that it is one of each of its classes.
    if type(connection) is not DistributedConnection:
        return None
    (tenant,) = set(tenants)
    return tenant


class Statement(NamedTuple):
    of_one_tenant: str
    of_several: str


def statement(text: str, parameters: int) -> Statement:
    """Its two texts.

    Args:
        text: where it has `«named»`, the tenant is that of the row `named`, or of the batch.
        parameters: how many it has beside the tenant.
    """
    of_several = _TENANT_OF.sub(r"\1.tenant", text).rstrip()
    return Statement(_TENANT_OF.sub(f"${parameters + 1}::text", text), f"{of_several} {ON_ONE_SERVER}")


def chosen(sent: Statement, tenant: str | None, *values: Any) -> tuple[Any, ...]:
    """Its text and what it is called with; `tenant` as for `fetch`."""
    return (sent.of_several, *values) if tenant is None else (sent.of_one_tenant, *values, tenant)


async def fetch(
    connection: asyncpg.Connection, sent: Statement, tenant: str | None, *values: Any
) -> list[asyncpg.Record]:
    """The rows.

    Args:
        tenant: the only one of the batch; None if there may be several.
    """
    rows: list[asyncpg.Record] = (
        await connection.fetch(sent.of_several, *values)
        if tenant is None
        else await connection.fetch(sent.of_one_tenant, *values, tenant)
    )
    return rows


async def execute(connection: asyncpg.Connection, sent: Statement, tenant: str | None, *values: Any) -> str:
    """The server's status, such as `UPDATE 3`; `tenant` as for `fetch`."""
    status: str = (
        await connection.execute(sent.of_several, *values)
        if tenant is None
        else await connection.execute(sent.of_one_tenant, *values, tenant)
    )
    return status
