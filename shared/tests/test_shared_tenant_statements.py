"""Which text of a statement a batch gets: that of its only tenant, or the one for several."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from shared.database_url import DatabaseUrl
from shared.tenant_statements import fetch, only_tenant, statement

WHO = statement("SELECT asked.tenant, «asked» AS named FROM unnest($1::text[]) AS asked (tenant)", 1)


@pytest.fixture
async def connection(shared_url: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Connection]:
    connection = await DatabaseUrl(shared_url).connect(is_distributed=request.param)
    yield connection
    await connection.close()


@pytest.mark.parametrize("connection", [False], indirect=True)
async def test_on_one_server_a_batch_may_be_of_several_tenants(connection: asyncpg.Connection) -> None:
    assert only_tenant(connection, ["a", "b"]) is None
    rows = await fetch(connection, WHO, None, ["a", "b"])
    assert [tuple(row) for row in rows] == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("connection", [True], indirect=True)
async def test_a_batch_for_distributed_tables_is_of_one_tenant(connection: asyncpg.Connection) -> None:
    assert only_tenant(connection, ["a", "a"]) == "a"
    rows = await fetch(connection, WHO, "a", ["a", "a"])
    assert [tuple(row) for row in rows] == [("a", "a"), ("a", "a")]
    with pytest.raises(ValueError, match="too many"):
        only_tenant(connection, ["a", "b"])
