"""What the planner does with the look-up of tokens on a database that is as young as can be, without statistics."""

import pytest
from platform_testing.databases import MigratedDatabase
from platform_testing.plans import connected, indexes_of
from token_service.tokens import store


@pytest.fixture
def young_url(young_database: MigratedDatabase) -> str:
    return young_database("token_service")


async def test_each_token_is_looked_up_by_its_whole_key(young_url: str) -> None:
    """Also by a connection that keeps its plan: it must not read all tokens once there are many."""
    async with connected(young_url) as young:
        found = await indexes_of(young, store._READ.of_several, without=())
    conditions = "\n".join(found.values())
    for condition in (
        "((tenant = named.tenant) AND (key_number = named.key_number) AND (sequence = named.sequence))",
        "((tenant = t.tenant) AND (number = t.placement))",
        "((tenant = p.tenant) AND (campaign_id = p.campaign_id))",
    ):
        assert f"Index Cond: {condition}" in conditions
