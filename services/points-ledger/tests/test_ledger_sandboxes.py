"""Sandbox tenants: their holds end earlier when their clock is moved, and a new round leaves nothing of the former."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.events import heard, types_heard
from platform_testing.serving import running
from points_ledger import verifying
from points_ledger.app import create_app
from points_ledger.eai.scenarios import SLOW_SECONDS, Scenarios
from points_ledger.tables import metadata
from shared.dependencies import provided
from shared.sandboxes.service import Sandboxes
from shared.settings import Mode, WrongSettings

from .conftest import MakeSettings
from .parties import Platform, Vendor

USERS = [
    {"user_id": "user-1", "points": 1000},
    {"user_id": "user-insufficient", "points": 0},
    {"user_id": "user-slow", "points": 1000},
    {"user_id": "user-503", "points": 1000},
    {"user_id": "user-expiring", "points": 1000},
]
MINUTE = 60_000
Declare = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def declare(client: httpx.AsyncClient, service_keys: ServiceKeys, tenant: str) -> Declare:
    """Declares the state of a sandbox, as partner-onboarding does."""

    async def do(round_: int = 1, ahead_ms: int = 0, *, of: str = tenant) -> httpx.Response:
        body = {"round": round_, "ahead_ms": ahead_ms, "users": USERS}
        headers = service_keys.headers("partner-onboarding", "points-ledger")
        return await client.post(f"/internal/sandboxes/{of}", json=body, headers=headers)

    return do


@pytest.fixture
async def sandbox(declare: Declare) -> Declare:
    """The tenant is a sandbox."""
    assert (await declare()).status_code == 200
    return declare


async def test_a_sandbox_begins_with_its_users_and_their_points(sandbox: Declare, platform: Platform) -> None:
    assert await platform.balance("user-1") == (1000, 0)
    assert await platform.balance("user-insufficient") == (0, 0)
    assert (await sandbox()).status_code == 200
    assert await platform.balance("user-1") == (1000, 0)


async def test_a_hold_expires_when_the_clock_passes_its_end(
    app: FastAPI, client: httpx.AsyncClient, sandbox: Declare, platform: Platform, shop: Vendor
) -> None:
    held = (await shop.commit("user-1", "order", 300)).json()
    assert (await sandbox(1, 14 * MINUTE)).status_code == 200
    assert await platform.balance("user-1") == (700, 300)
    moved = (await shop.look_up("order")).json()
    assert (moved["state"], moved["expiresat"] < held["expiresat"]) == ("held", True)

    assert (await sandbox(1, 20 * MINUTE)).status_code == 200

    refused = await shop.confirm("user-1", "order")
    assert (refused.status_code, refused.json()["code"]) == (409, "hold_expired")
    assert await platform.balance("user-1") == (1000, 0)
    assert await types_heard(app, client, dict(shop.headers)) == ["points.held", "points.expired"]


async def test_a_hold_of_after_the_advance_lasts_as_long_as_ever(sandbox: Declare, shop: Vendor) -> None:
    await sandbox(1, 20 * MINUTE)
    assert (await shop.commit("user-1", "later", 300)).status_code == 200
    assert (await sandbox(1, 20 * MINUTE)).status_code == 200
    assert (await shop.confirm("user-1", "later")).status_code == 200


async def test_no_hold_ends_before_it_began(sandbox: Declare, shop: Vendor) -> None:
    await shop.commit("user-1", "order", 300)
    await sandbox(1, 365 * 24 * 60 * MINUTE)
    found = (await shop.look_up("order")).json()
    assert found["state"] == "expired"
    assert found["createdat"] <= found["expiredat"]


async def test_to_declare_a_state_again_moves_nothing_twice(sandbox: Declare, shop: Vendor) -> None:
    await shop.commit("user-1", "order", 300)
    await sandbox(1, 10 * MINUTE)
    end = (await shop.look_up("order")).json()["expiresat"]
    await sandbox(1, 10 * MINUTE)
    await sandbox(1, 4 * MINUTE)
    assert (await shop.look_up("order")).json()["expiresat"] == end


async def test_of_two_declarations_at_once_each_movement_counts_once(sandbox: Declare, shop: Vendor) -> None:
    await shop.commit("user-1", "order", 300)
    answers = await asyncio.gather(*(sandbox(1, 10 * MINUTE) for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert (await sandbox(1, 10 * MINUTE)).status_code == 200
    assert (await shop.look_up("order")).json()["state"] == "held"


async def test_an_advance_that_was_cut_short_is_finished(
    app: FastAPI, sandbox: Declare, platform: Platform, shop: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = sorted([await platform.user_with(10) for _ in range(120)])
    for user in users:
        await shop.commit(user, f"of-{user}", 10)
    sandboxes = provided(app, Sandboxes)
    move = sandboxes._move
    slices = 0

    async def once(*arguments: Any) -> str | None:
        nonlocal slices
        slices += 1
        if slices > 1:
            raise OSError("the power went out")
        assert move is not None
        return await move(*arguments)

    monkeypatch.setattr(sandboxes, "_move", once)
    assert (await sandbox(1, 10 * MINUTE)).status_code == 503
    ends = {(await shop.look_up(f"of-{user}")).json()["expiresat"] for user in (users[0], users[-1])}
    assert len(ends) == 2

    monkeypatch.setattr(sandboxes, "_move", move)
    first = (await shop.look_up(f"of-{users[0]}")).json()["expiresat"]
    assert (await sandbox(1, 10 * MINUTE)).status_code == 200
    assert (await shop.look_up(f"of-{users[0]}")).json()["expiresat"] == first
    assert (await sandbox(1, 20 * MINUTE)).status_code == 200
    states = [(await shop.look_up(f"of-{user}")).json()["state"] for user in users]
    assert set(states) == {"expired"}


async def test_a_new_round_leaves_nothing_of_the_former(
    app: FastAPI,
    client: httpx.AsyncClient,
    sandbox: Declare,
    platform: Platform,
    shop: Vendor,
    rows: asyncpg.Connection,
    tenant: str,
    ledger_url: str,
) -> None:
    own = await platform.user_with(50)
    await shop.commit("user-1", "held", 100)
    await shop.commit("user-1", "done", 100)
    await shop.confirm("user-1", "done", key="a-key")
    await client.put("/v1/vendors/shop", json={"hold_seconds": 60}, headers=platform.headers)
    last = (await heard(app, client, dict(platform.headers)))[-1]

    assert (await sandbox(2)).status_code == 200

    assert await platform.balance("user-1") == (1000, 0)
    assert (await client.get(f"/v1/accounts/{own}", headers=platform.headers)).status_code == 404
    assert (await shop.look_up("held")).status_code == 404
    assert (await shop.confirm("user-1", "done", key="a-key")).json()["code"] == "transaction_not_found"
    # Settings stay, and who follows the events goes on.
    settings = await client.get("/v1/vendors/shop", headers=platform.headers)
    assert settings.json()["hold_seconds"] == 60
    told = await heard(app, client, dict(platform.headers))
    assert {event["type"] for event in told} == {"points.credited"}
    assert last["id"] not in {event["id"] for event in told}
    assert not [line for line in (await verifying.verify(ledger_url)).differences if tenant in line]
    entries = await rows.fetchval("SELECT count(*) FROM points_ledger.entries WHERE tenant = $1", tenant)
    assert entries == 4
    # The former round was declared late.
    assert (await sandbox(1, MINUTE)).status_code == 200
    assert (await rows.fetchval("SELECT round FROM points_ledger.sandboxes WHERE tenant = $1", tenant)) == 2


async def test_who_follows_the_events_hears_of_the_next_round(
    app: FastAPI, client: httpx.AsyncClient, sandbox: Declare, shop: Vendor
) -> None:
    await shop.commit("user-1", "order", 100)
    await heard(app, client, dict(shop.headers))
    after = (await client.get("/events/v1/points", headers=shop.headers)).json()["next_after"]
    await sandbox(2)
    await shop.commit("user-1", "order", 100)
    assert [event["type"] for event in await heard(app, client, dict(shop.headers), after=after)] == ["points.held"]


async def test_a_tenant_in_use_never_becomes_a_sandbox(
    declare: Declare, platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(10)
    refused = await declare(2, 20 * MINUTE)
    assert (refused.status_code, refused.json()["code"]) == (409, "tenant_in_use")
    assert await platform.balance(user) == (10, 0)
    assert await rows.fetchval("SELECT count(*) FROM points_ledger.sandboxes WHERE tenant = $1", tenant) == 0


async def test_the_database_itself_empties_no_tenant_that_is_no_sandbox(
    platform: Platform, rows: asyncpg.Connection, tenant: str
) -> None:
    user = await platform.user_with(10)
    assert await rows.fetchval("SELECT points_ledger.begin_sandbox_anew($1, 2)", tenant) is False
    assert await platform.balance(user) == (10, 0)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await rows.execute("INSERT INTO points_ledger.sandboxes (tenant) VALUES ($1)", tenant)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await rows.execute("DELETE FROM points_ledger.entries WHERE tenant = $1", tenant)


async def test_the_database_refuses_a_second_movement_from_one_place_and_one_backwards(
    sandbox: Declare, rows: asyncpg.Connection, tenant: str
) -> None:
    await sandbox(1, MINUTE)
    insert = "INSERT INTO points_ledger.sandbox_advances (tenant, round, moved_from, moved_to, moved_at)"
    with pytest.raises(asyncpg.UniqueViolationError):
        await rows.execute(f"{insert} VALUES ($1, 1, 0, 5, now())", tenant)
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.execute(f"{insert} VALUES ($1, 1, 5, 5, now())", tenant)


async def test_a_reset_knows_every_table_with_a_tenant(rows: asyncpg.Connection) -> None:
    """A table that a later version adds is emptied as well, unless it says that its rows stay."""
    body = await rows.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'begin_sandbox_anew'")
    emptied = set(re.findall(r"DELETE FROM points_ledger\.(\w+)", body))
    staying = {"acts", "vendors", "event_positions", "event_endpoints", "sandboxes"}
    assert emptied == {table.name for table in metadata.tables.values()} - staying


async def test_another_tenant_does_not_notice(
    client: httpx.AsyncClient, register: FakeRegister, sandbox: Declare, shop: Vendor, tenant: str
) -> None:
    other = f"other-{secrets.token_hex(4)}"
    its_platform = Platform(client, register.add(other, "points:admin", "points:read"))
    its_shop = Vendor(client, register.add(other, "points:redeem", vendor_id="shop"))
    user = await its_platform.user_with(100)
    end = (await its_shop.commit(user, "order", 60)).json()["expiresat"]
    await sandbox(1, 20 * MINUTE)
    await sandbox(2)
    found = (await its_shop.look_up("order")).json()
    assert (found["state"], found["expiresat"]) == ("held", end)
    assert await its_platform.balance(user) == (40, 60)


class TestUsersByName:
    async def test_insufficient_never_has_enough(self, sandbox: Declare, shop: Vendor, platform: Platform) -> None:
        await platform.credit("user-insufficient", 500)
        refused = await shop.commit("user-insufficient", "order", 100)
        assert (refused.status_code, refused.json()["code"]) == (400, "insufficient_points")
        assert refused.json()["state"] == "rejected"
        again = await shop.confirm("user-insufficient", "order")
        assert (again.status_code, again.json()["code"]) == (409, "transaction_rejected")

    async def test_expiring_has_holds_of_two_seconds(self, sandbox: Declare, shop: Vendor) -> None:
        assert (await shop.commit("user-expiring", "order", 100)).status_code == 200
        found = (await shop.look_up("order")).json()

        lasts = datetime.fromisoformat(found["expiresat"]) - datetime.fromisoformat(found["createdat"])
        assert lasts.total_seconds() == 2

    async def test_503_is_not_to_be_had_and_leaves_nothing(
        self, client: httpx.AsyncClient, sandbox: Declare, shop: Vendor, platform: Platform
    ) -> None:
        refused = await shop.commit("user-503", "order", 100, key="a-key")
        assert (refused.status_code, refused.json()["code"]) == (503, "temporarily_unavailable")
        assert refused.json()["transactionid"] == "order"
        assert int(refused.headers["Retry-After"]) > 0
        assert (await shop.look_up("order")).status_code == 404
        assert await platform.balance("user-503") == (1000, 0)
        asked = await client.get("/eai/v1/balances/user-503", headers=shop.headers)
        assert asked.status_code == 503

    async def test_slow_answers_late_and_keeps_nobody_else_waiting(
        self, app: FastAPI, client: httpx.AsyncClient, sandbox: Declare, shop: Vendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waits: list[float] = []
        all_wait, may_answer = asyncio.Event(), asyncio.Event()

        async def pause(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == len(slow):
                all_wait.set()
            await may_answer.wait()

        monkeypatch.setattr(provided(app, Scenarios), "_pause", pause)
        slow = [asyncio.create_task(shop.commit("user-slow", f"slow-{n}", 10)) for n in range(40)]
        await all_wait.wait()
        assert set(waits) == {SLOW_SECONDS}
        # All is written before: who does not wait can ask.
        assert (await shop.look_up("slow-0")).json()["state"] == "held"
        assert (await shop.commit("user-1", "quick", 10)).status_code == 200
        may_answer.set()
        assert {(await answer).status_code for answer in slow} == {200}

    @pytest.mark.parametrize("user", ["user-insufficient", "user-slow", "user-503", "user-expiring"])
    async def test_elsewhere_they_are_users_like_all_others(
        self,
        app: FastAPI,
        client: httpx.AsyncClient,
        platform: Platform,
        shop: Vendor,
        user: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def pause(seconds: float) -> None:
            raise AssertionError(f"waits for {seconds} s")

        monkeypatch.setattr(provided(app, Scenarios), "_pause", pause)
        await client.put(f"/v1/accounts/{user}", headers=platform.headers)
        await platform.credit(user, 100)
        held = await shop.commit(user, "order", 60)
        assert held.status_code == 200
        assert (await shop.confirm(user, "order")).status_code == 200
        asked = await client.get(f"/eai/v1/balances/{user}", headers=shop.headers)
        assert asked.json()["available"] == 40


class TestInProduction:
    @pytest.fixture
    def production(self, make_settings: MakeSettings, register: FakeRegister) -> Callable[[bool], FastAPI]:
        """The service in production mode, with the switch on or off."""

        def make(switched_on: bool) -> FastAPI:
            settings = make_settings(mode=Mode.PRODUCTION, public_url="https://points.example", sandboxes=switched_on)
            return create_app(settings, register=register)

        return make

    @pytest.mark.parametrize(("switched_on", "status"), [(True, 200), (False, 403)])
    async def test_it_has_a_sandbox_only_where_it_is_switched_on(
        self,
        production: Callable[[bool], FastAPI],
        service_keys: ServiceKeys,
        tenant: str,
        switched_on: bool,
        status: int,
    ) -> None:
        body = {"round": 1, "ahead_ms": 0, "users": []}
        headers = service_keys.headers("partner-onboarding", "points-ledger")
        transport = httpx.ASGITransport(production(switched_on))
        async with httpx.AsyncClient(transport=transport, base_url="http://ledger") as client:
            answer = await client.post(f"/internal/sandboxes/{tenant}", json=body, headers=headers)
        assert answer.status_code == status

    async def test_it_does_not_start_with_one_unless_it_is_switched_on(
        self, production: Callable[[bool], FastAPI], sandbox: Declare
    ) -> None:
        with pytest.raises(WrongSettings, match="is a sandbox"):
            async with running(production(False)):
                pass
        async with running(production(True)) as client:
            assert (await client.get("/healthz")).status_code == 200
