"""partner-onboarding's audit hears of every change by a client's administrator; every other route and command has its
reason why it leaves no row there."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from platform_testing.acts import COMMON_COMMANDS, changing_routes, commands_of, noted_actions
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.databases import alone_with
from platform_testing.serving import running
from points_ledger.__main__ import cli
from points_ledger.app import create_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .conftest import MakeSettings

#: What each changing route writes down.
WRITTEN: Mapping[tuple[str, str], set[str]] = {
    ("PUT", "/v1/vendors/{vendor_id}"): {"hold_time_changed"},
    ("PUT", "/v1/accounts/{user_id}"): {"account_opened"},
    ("DELETE", "/v1/accounts/{user_id}"): {"account_closed"},
}
#: Why the others leave no row.
NOT_WRITTEN = {
    ("POST", "/eai/v1/points"): "holds, confirms and refunds: entries and transactions tell it for ever",
    ("POST", "/eai/v1/reconciliations"): "asks",
    ("POST", "/v1/accounts/{user_id}/credits"): "makes an entry, which names the client",
    ("POST", "/v1/accounts/{user_id}/debits"): "makes an entry, which names the client",
    ("POST", "/v1/credits/import"): "makes entries, which name the client, in accounts that it opens for them",
    ("POST", "/internal/tenants/{tenant}/accounts/{user_id}/close"): "follows partner-onboarding, which has written it",
    ("POST", "/internal/tenants/{tenant}/balances"): "asks",
    ("POST", "/internal/sandboxes/{tenant}"): "follows partner-onboarding, which has written it",
}
COMMANDS_NOT_WRITTEN = COMMON_COMMANDS | {"verify": "reads", "check-receipt": "reads", "reconcile": "reads"}


class Audited(NamedTuple):
    """A running service, an administrator's client, and what partner-onboarding was told, by act id."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    rows: asyncpg.Connection
    tenant: str
    acts: dict[str, dict[str, Any]]

    async def put(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await self.client.put(path, json=body, headers=self.headers)

    async def delete(self, path: str) -> httpx.Response:
        return await self.client.delete(path, params={"reason": "moved away"}, headers=self.headers)

    async def told(self) -> list[dict[str, Any]]:
        """All acts of this tenant in the order in which they were done, once none waits any more."""
        async with asyncio.timeout(30):
            while await self.rows.fetchval("SELECT count(*) FROM points_ledger.acts WHERE tenant = $1", self.tenant):
                # Other tests, whose services know no partner-onboarding, have left acts that would come before.
                async with self.rows.transaction():
                    await self.rows.execute(alone_with("points_ledger.acts"))
                    await self.rows.execute(
                        "UPDATE points_ledger.acts SET next_attempt_at = '-infinity' WHERE tenant = $1", self.tenant
                    )
                await asyncio.sleep(0.02)
        return sorted(self.acts.values(), key=lambda act: str(act["acted_at"]))


@pytest.fixture
async def audited(
    make_settings: MakeSettings, register: FakeRegister, tenant: str, rows: asyncpg.Connection
) -> AsyncIterator[Audited]:
    acts: dict[str, dict[str, Any]] = {}

    async def take(request: Request) -> Response:
        act = await request.json()
        if request.path_params["tenant"] == tenant:
            acts[act["act_id"]] = act
        return JSONResponse({"act_id": act["act_id"]})

    onboarding = Starlette(routes=[Route("/internal/tenants/{tenant}/acts", take, methods=["POST"])])
    app = create_app(make_settings(), register=register, onboarding_transport=httpx.ASGITransport(onboarding))
    async with running(app) as client:
        yield Audited(client, register.add(tenant, "points:admin", "points:read"), rows, tenant, acts)


def test_every_route_that_changes_something_has_its_row_or_a_reason(app: FastAPI) -> None:
    assert changing_routes(app) == set(WRITTEN) | set(NOT_WRITTEN)
    assert not set(WRITTEN) & set(NOT_WRITTEN)


def test_no_command_changes_something_that_the_audit_tells() -> None:
    assert commands_of(cli) == set(COMMANDS_NOT_WRITTEN)


def test_every_action_is_noted_somewhere_and_stands_in_the_table() -> None:
    assert noted_actions("points_ledger") == set().union(*WRITTEN.values())


async def test_a_changed_hold_time_is_told_with_what_was_before_and_after(audited: Audited) -> None:
    for seconds in (60, 90, 90):
        assert (await audited.put("/v1/vendors/shop", {"hold_seconds": seconds})).status_code == 200
    first, second = await audited.told()
    assert (first["action"], first["subject"]) == ("hold_time_changed", "shop")
    assert (second["before"], second["after"]) == ({"hold_seconds": 60}, {"hold_seconds": 90})
    assert first["client_id"] is not None
    assert first["origin"] is not None
    assert first["request_id"] != second["request_id"]


async def test_an_account_that_is_opened_and_closed_is_told(audited: Audited) -> None:
    path = "/v1/accounts/anna"
    assert (await audited.delete(path)).status_code == 404
    assert [(await audited.put(path)).status_code for _ in range(2)] == [201, 200]
    assert [(await audited.delete(path)).status_code for _ in range(2)] == [200, 200]
    opened, closed, repeated = await audited.told()
    assert (opened["action"], opened["subject"], opened["before"]) == ("account_opened", "anna", None)
    assert (closed["action"], closed["subject"], closed["before"]) == ("account_closed", "anna", {"closed_at": None})
    assert closed["after"]["closed_at"] is not None
    assert closed["details"] == {"lapsed": 0}
    assert "moved away" not in str(closed)
    # A client that lost the first answer asks again: that changes nothing, and is written too.
    assert repeated["before"] == repeated["after"] == closed["after"]


async def test_an_account_that_a_person_closes_is_partner_onboardings_to_tell(
    audited: Audited, service_keys: ServiceKeys
) -> None:
    assert (await audited.put("/v1/accounts/anna")).status_code == 201
    path = f"/internal/tenants/{audited.tenant}/accounts/anna/close"
    as_onboarding = service_keys.headers("partner-onboarding", "points-ledger")
    closed = await audited.client.post(path, json={"reason": "left"}, headers=as_onboarding)
    assert closed.status_code == 200
    assert [act["action"] for act in await audited.told()] == ["account_opened"]
