"""Where the tables are distributed, tenants share no batch, and each gets what is its own."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from shared.errors import Unavailable
from token_service.app import create_app
from token_service.counting import tally

from .campaign_house import House
from .conftest import MakeSettings

SCOPES = ("tokens:issue", "tokens:verify", "tokens:stats")


@pytest.fixture
async def houses(make_settings: MakeSettings, register: FakeRegister) -> AsyncIterator[list[House]]:
    """Three tenants of a service whose tables count as distributed. It writes counts when a test says so."""
    app = create_app(make_settings(database_distributed=True, count_flush_seconds=0.9), register=register)
    async with running(app) as client:
        tenants = [f"t-{secrets.token_hex(6)}" for _ in range(3)]
        yield [House(app, client, register.add(tenant, *SCOPES), tenant) for tenant in tenants]


async def test_tokens_of_several_tenants_are_issued_verified_and_counted_at_once(houses: list[House]) -> None:
    limited = await asyncio.gather(*(one.issue(max_uses=2) for one in houses for _ in range(4)))
    free = await asyncio.gather(*(one.issue() for one in houses))
    owners = [one for one in houses for _ in range(4)]
    uses = [(one, token) for one, token in zip(owners, limited, strict=True) for _ in range(3)]
    answers = await asyncio.gather(*(one.verify(token) for one, token in uses))
    assert sorted(answer.status_code for answer in answers) == [200] * 24 + [409] * 12
    answers = await asyncio.gather(*(one.verify(token) for one, token in zip(houses, free, strict=True)))
    assert [answer.status_code for answer in answers] == [200] * 3
    # Another tenant's token is none here.
    assert (await houses[0].verify(free[1])).status_code == 403
    for one, refused in zip(houses, ({"invalid_signature": 1}, {}, {}), strict=True):
        told = await one.get("/v1/campaigns/spring/stats")
        assert (told["issued"], told["verified"], told["distinct"]) == (5, 9, 5)
        assert (told["refused"], told["refused_without_campaign"]) == ({"token_used_up": 4}, refused)


async def test_counts_of_tokens_that_are_gone_hold_up_nobody(houses: list[House]) -> None:
    """All that a tenant's batch of counts has to write may have been purged in between."""
    one = houses[0]
    assert (await one.verify(await one.issue())).status_code == 200
    await one.execute("DELETE FROM token_service.tokens WHERE tenant = :tenant", tenant=one.tenant)
    assert (await one.get("/v1/campaigns/spring/stats"))["verified"] == 1


async def test_counts_of_a_tenant_whose_server_is_down_keep_no_others_waiting(
    houses: list[House], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = await asyncio.gather(*(one.issue() for one in houses))
    down, write = houses[1].tenant, tally._write

    async def refuse(connection: Any, counts: Any) -> None:
        if any(token_id.tenant == down for token_id in counts.uses):
            raise OSError("the server is down")
        await write(connection, counts)

    monkeypatch.setattr(tally, "_write", refuse)
    for one, token in zip(houses, tokens, strict=True):
        assert (await one.verify(token)).status_code == 200
    with pytest.raises(Unavailable):
        await houses[0].tally.flush()
    rows = await houses[0].fetch(
        "SELECT tenant, uses FROM token_service.tokens WHERE tenant = ANY (:tenants)",
        tenants=[one.tenant for one in houses],
    )
    assert dict(map(tuple, rows)) == {houses[0].tenant: 1, down: 0, houses[2].tenant: 1}
    monkeypatch.undo()
    assert (await houses[1].get(f"/v1/tokens/{tokens[1]}/stats"))["verified"] == 1
