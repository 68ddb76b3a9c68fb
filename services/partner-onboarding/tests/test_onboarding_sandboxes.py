"""Sandbox tenants: their owner moves the clock and begins anew, all services follow, and elsewhere there is no such
thing."""

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from local_platform.demonstration import SANDBOX_USERS
from partner_onboarding.app import create_app
from partner_onboarding.register.clients.domain import MalformedClient, Registration
from partner_onboarding.register.sandboxes import store
from partner_onboarding.register.sandboxes.developers import LIVES_FOR, DevelopersClients
from partner_onboarding.register.sandboxes.domain import PEOPLE
from partner_onboarding.register.sandboxes.service import SandboxTenants
from partner_onboarding.register.tables import clients
from partner_onboarding.settings import Settings
from platform_testing.serving import running
from shared.dependencies import provided
from shared.sandboxes.domain import TEST_CLIENT_PREFIX, TEST_USERS, new_test_client_id
from shared.settings import WrongSettings
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .handshake_partner import Partner
from .onboarding_house import House, Running, Shell, hidden_fields

MINUTE = 60_000


@dataclass
class Followers:
    """The other services, as far as sandboxes concern them."""

    #: tenant → what was declared to each service, in order.
    declared: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    down: bool = False

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/internal/sandboxes/{tenant}")
        async def declare(request: Request, tenant: str) -> Response:
            if self.down:
                return Response(status_code=503)
            self.declared.setdefault(tenant, []).append(await request.json())
            return JSONResponse({})

        return app

    def last(self, tenant: str) -> tuple[int, int]:
        """The last round, and how far its clock is ahead in milliseconds."""
        body = self.declared[tenant][-1]
        return body["round"], body["ahead_ms"]


@dataclass
class Sandbox:
    """A sandbox tenant and its owner."""

    house: House
    followers: Followers
    tenant: str
    headers: dict[str, str]

    async def move(self, advance: Any, **headers: str) -> httpx.Response:
        body = {"advance": advance}
        return await self.house.http.post("/v1/sandbox/clock", json=body, headers=self.headers | headers)

    async def reset(self, **headers: str) -> httpx.Response:
        return await self.house.http.post("/v1/sandbox/reset", headers=self.headers | headers)


@pytest.fixture
async def sandbox(service: Running, house: House) -> Sandbox:
    followers = Followers()
    service.neighbours.app = service.tokens.app = followers.app()
    tenant = f"t-{secrets.token_hex(6)}"
    await house.register.tenants.create(tenant, "A sandbox", (), sandbox=True)
    await provided(house.app, SandboxTenants).announce(tenant)
    return Sandbox(house, followers, tenant, await house.caller("points:admin", "users:read", tenant=tenant))


async def test_an_advance_reaches_every_service(sandbox: Sandbox) -> None:
    answer = await sandbox.move("PT20M")
    assert answer.status_code == 200, answer.text
    assert answer.json() | {"clock": ""} == {"tenant": sandbox.tenant, "round": 1, "ahead_seconds": 1200, "clock": ""}
    assert [body["ahead_ms"] for body in sandbox.followers.declared[sandbox.tenant]] == [0, 0, 0] + 3 * [20 * MINUTE]
    assert (await sandbox.move("P1D")).json()["ahead_seconds"] == 87_600
    assert sandbox.followers.last(sandbox.tenant) == (1, 1460 * MINUTE)


async def test_codes_of_the_handshake_expire_when_the_clock_passes_their_end(sandbox: Sandbox) -> None:
    partner = await Partner.of(sandbox.house, tenant=sandbox.tenant)
    first = (await partner.codes())["registerCode"]
    await sandbox.move("PT59M")
    assert (await sandbox.house.http.get("/registrieren/", params={"registerCode": first})).status_code == 200
    await sandbox.move("PT2M")
    assert (await sandbox.house.http.get("/registrieren/", params={"registerCode": first})).status_code == 410
    second = (await partner.codes())["registerCode"]
    assert (await sandbox.house.http.get("/registrieren/", params={"registerCode": second})).status_code == 200


async def test_a_new_round_keeps_clients_and_test_users_and_nothing_that_tests_have_left(sandbox: Sandbox) -> None:
    house, tenant = sandbox.house, sandbox.tenant
    partner = await Partner.of(house, tenant=tenant)
    code = (await partner.codes())["registerCode"]
    await house.user("somebody", tenant=tenant)
    await house.user("an-admin", tenant=tenant, roles=("tenant_admin",))
    await sandbox.move("PT20M")
    answer = await sandbox.reset()
    assert answer.status_code == 200, answer.text
    assert (answer.json()["round"], answer.json()["ahead_seconds"]) == (2, 0)
    assert sandbox.followers.last(tenant) == (2, 0)
    assert (await house.http.get("/registrieren/", params={"registerCode": code})).status_code == 400
    users = [user.user_id for user in await house.register.users.list_users(tenant, None)]
    assert users == sorted([*(person.user_id for person in PEOPLE), "an-admin"])
    assert (await partner.get("init-register-handshake")).status_code == 200


async def test_the_test_users_are_there_from_the_beginning(sandbox: Sandbox) -> None:
    for person in PEOPLE:
        found = await sandbox.house.http.get(f"/v1/users/{person.user_id}", headers=sandbox.headers)
        assert found.json()["email"] == person.email
    told = sandbox.followers.declared[sandbox.tenant][0]["users"]
    assert {user["user_id"]: user["points"] for user in told} == {one.user_id: one.points for one in PEOPLE}


def test_the_demonstration_shows_the_users_whom_a_sandbox_has() -> None:
    assert [(person.user_id, person.firstname, person.points) for person in PEOPLE] == list(SANDBOX_USERS)
    assert tuple(person.user_id for person in PEOPLE) == TEST_USERS


async def test_what_did_not_reach_a_service_is_told_again_and_counts_once(sandbox: Sandbox) -> None:
    sandbox.followers.down = True
    key = {"Idempotency-Key": "advance-1"}
    answer = await sandbox.move("PT20M", **key)
    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert "Retry-After" in answer.headers
    sandbox.followers.down = False
    again = await sandbox.move("PT20M", **key)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json()["ahead_seconds"] == 1200
    assert sandbox.followers.last(sandbox.tenant) == (1, 20 * MINUTE)
    # And where nobody repeats it, a chore does.
    sandbox.followers.down = True
    assert (await sandbox.reset()).status_code == 503
    sandbox.followers.down = False
    await provided(sandbox.house.app, SandboxTenants).chore(1).do()
    assert sandbox.followers.last(sandbox.tenant) == (2, 0)


async def test_of_many_advances_at_once_each_counts(sandbox: Sandbox) -> None:
    answers = await asyncio.gather(*(sandbox.move("PT1M") for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["ahead_seconds"] for answer in answers) == [60, 120, 180, 240, 300, 360]


@pytest.mark.parametrize(
    "advance",
    [
        *("", "20M", "1200", "-PT20M", "PT-20M", "PT0S", "PT0.5S", "P", "PT", "P1DT", "P1M", "P1Y", "P1Y2DT3H"),
        *("P3651D", "PT99999999999999999999H", "pt20m", " PT20M", "PT20M ", "PT٢٠M", "PT20M/PT5M", "never"),
        "P" + "1" * 64 + "D",
    ],
)
async def test_what_is_no_advance_is_refused_and_moves_nothing(sandbox: Sandbox, advance: str) -> None:
    answer = await sandbox.move(advance)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"malformed_advance", "malformed_request"}
    assert (await sandbox.move("PT1S")).json()["ahead_seconds"] == 1


@pytest.mark.parametrize(
    "body", [{}, {"advance": 20}, {"advance": None}, {"advance": "PT1M", "to": "PT2M"}, [], "PT1M"]
)
async def test_another_body_is_refused(sandbox: Sandbox, body: Any) -> None:
    answer = await sandbox.house.http.post("/v1/sandbox/clock", json=body, headers=sandbox.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("path", ["/v1/sandbox/clock", "/v1/sandbox/reset"])
@pytest.mark.parametrize("body", [{"advance": "PT20M"}, {"advance": "nonsense"}, {}])
async def test_elsewhere_there_is_no_such_thing(house: House, path: str, body: Any) -> None:
    owner = await house.caller("points:admin")
    answer = await house.http.post(path, json=body, headers=owner | {"Idempotency-Key": "a-key"})
    nowhere = await house.http.post("/v1/nothing", json=body, headers=owner)
    assert answer.status_code == nowhere.status_code == 404
    assert answer.json()["code"] == nowhere.json()["code"]
    assert (await house.http.post(path, json=body)).status_code == 401


async def test_a_tenant_that_exists_never_becomes_a_sandbox(house: House, shell: Shell) -> None:
    told = await shell("create-tenant", house.tenant, "--name", f"Tenant {house.tenant}", "--sandbox")
    assert (told.answer["created"], told.answer["sandbox"]) == (False, False)
    assert "sandbox" in told.answer["differs"]
    owner = await house.caller("points:admin")
    assert (await house.http.post("/v1/sandbox/reset", headers=owner)).status_code == 404


async def test_a_command_makes_a_sandbox_and_says_who_does_not_know_it_yet(shell: Shell) -> None:
    tenant = f"t-{secrets.token_hex(6)}"
    told = await shell("create-tenant", tenant, "--name", "For tests", "--sandbox")
    assert (told.exit_code, told.answer["created"], told.answer["sandbox"]) == (0, True, True)
    assert told.answer["waiting"] == ["points-ledger", "sso-issuer", "token-service"]


class TestInProduction:
    @pytest.fixture
    def switched_off(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"sandboxes": False})

    async def test_no_command_makes_a_sandbox(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ONBOARDING_SANDBOXES", "false")
        tenant = f"t-{secrets.token_hex(6)}"
        told = await shell("create-tenant", tenant, "--name", "For tests", "--sandbox")
        assert told.exit_code == 1
        assert "sandboxes_not_allowed" in told.stderr
        assert (await shell("create-tenant", tenant, "--name", "For tests")).answer["created"] is True

    async def test_the_service_does_not_start_with_one(self, switched_off: Settings, sandbox: Sandbox) -> None:
        with pytest.raises(WrongSettings, match="is a sandbox"):
            async with running(create_app(switched_off)):
                pass

    async def test_nothing_of_it_can_be_reached(
        self, service: Running, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service.register.sandboxes, "_allowed", False)
        monkeypatch.setattr(provided(service.app, SandboxTenants)._sandboxes, "_allowed", False)
        assert (await sandbox.move("PT20M")).status_code == 404
        assert (await sandbox.reset()).status_code == 404


class TestMakingAClient:
    """A developer makes a client for the sandbox, without an account and without asking anybody."""

    PATH = "/developers/test-client"

    @pytest.fixture
    async def house(self, house: House) -> House:
        await house.register.tenants.create("developers", "For developers", (), sandbox=True)
        return house

    async def _made(self, house: House) -> httpx.Response:
        fields = hidden_fields((await house.http.get(self.PATH)).text)
        return await house.http.post(self.PATH, data=fields)

    async def test_a_client_is_a_vendor_of_the_sandbox_and_its_secret_is_shown_once(self, house: House) -> None:
        page = await self._made(house)
        assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
        client_id, secret = (_shown(page.text, name) for name in ("client_id", "client_secret"))
        checked = (await house.check(client_id, secret)).json()
        assert (checked["tenant"], checked["scopes"]) == ("developers", ["points:redeem", "sso:issue"])
        assert house.neighbours.agreed == [("developers", client_id)]
        assert secret not in (await house.http.get(self.PATH)).text

    async def test_no_other_client_gets_such_an_id(self, house: House) -> None:
        wanted = Registration(name="Somebody's", scopes=("sso:issue",))
        async with house.register.database.transaction() as connection:
            with pytest.raises(MalformedClient):
                await house.register.clients.register(connection, house.tenant, wanted, client_id=new_test_client_id())

    async def test_without_the_issuer_no_client_is_made(self, house: House) -> None:
        house.neighbours.issuer_is_down = True
        async with house.register.database.transaction() as connection:
            before = await store.live_clients(connection, "developers", TEST_CLIENT_PREFIX)
        refused = await self._made(house)
        assert (refused.status_code, "client_secret" in refused.text) == (503, False)
        async with house.register.database.transaction() as connection:
            assert await store.live_clients(connection, "developers", TEST_CLIENT_PREFIX) == before
        house.neighbours.issuer_is_down = False
        assert (await self._made(house)).status_code == 200

    async def test_one_network_makes_a_few_and_others_go_on(self, house: House) -> None:
        assert [(await self._made(house)).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert "Retry-After" in (await self._made(house)).headers

    async def test_so_many_live_at_once_and_old_ones_end(
        self, house: House, owner: AsyncEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = _shown((await self._made(house)).text, "client_id")
        developers = provided(house.app, DevelopersClients)
        async with house.register.database.transaction() as connection:
            live = await store.live_clients(connection, "developers", TEST_CLIENT_PREFIX)
        monkeypatch.setattr(developers, "_at_most", live)
        assert (await self._made(house)).status_code == 429
        async with owner.begin() as connection:
            statement = update(clients).where(clients.c.client_id == first)
            await connection.execute(statement.values(created_at=func.now() - LIVES_FOR - timedelta(days=1)))
        assert (await self._made(house)).status_code == 200
        assert (await house.register.clients.get("developers", first)).client.disabled_at is not None

    @pytest.mark.parametrize("setting", [None, "nobody-has-this", "one that is no sandbox"])
    async def test_without_a_sandbox_there_is_no_such_page(
        self, house: House, setting: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named = house.tenant if setting == "one that is no sandbox" else setting
        monkeypatch.setattr(provided(house.app, DevelopersClients), "_tenant", named)
        assert (await house.http.get(self.PATH)).status_code == 404
        assert (await house.http.post(self.PATH, data={})).status_code in {403, 404}


def _shown(page: str, name: str) -> str:
    found = re.search(rf'id="{name}">([^<]+)<', page)
    assert found is not None
    return found[1]
