"""What the planner does with the look-up of tokens on a database that is as young as can be, without statistics."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres
from platform_testing.databases import new_database
from token_service.tokens import store


@pytest.fixture(scope="module")
def young_url(postgres: EmbeddedPostgres) -> str:
    return new_database(postgres, "token_service", "tokens_young")


@pytest.fixture
async def young(young_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(young_url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_each_token_is_looked_up_by_its_whole_key(young: asyncpg.Connection) -> None:
    """Also by a connection that keeps its plan: it must not read all tokens once there are many."""
    await young.execute("SET plan_cache_mode = force_generic_plan")
    await young.execute(f"PREPARE look AS {store._READ}")
    plan = "\n".join(row[0] for row in await young.fetch("EXPLAIN EXECUTE look (NULL, NULL, NULL)"))
    assert "Seq Scan" not in plan, plan
    for condition in (
        "((tenant = named.tenant) AND (key_number = named.key_number) AND (sequence = named.sequence))",
        "((tenant = t.tenant) AND (number = t.placement))",
        "((tenant = p.tenant) AND (campaign_id = p.campaign_id))",
    ):
        assert f"Index Cond: {condition}" in plan, plan
