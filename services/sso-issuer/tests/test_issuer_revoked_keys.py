"""Keys that have leaked: no service takes their tokens any more, also when the issuer goes away right after."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from platform_testing.callers import FakeRegister, ServiceKeys
from platform_testing.issuer_world import World
from platform_testing.serving import PUBLIC_URL, running
from shared.callers import Callers
from shared.calling import ServiceClient
from shared.dependencies import provided
from shared.errors import Unauthenticated, Unavailable
from shared.jwks import HttpKeySource, TenantKeys
from shared.proxies import ProxyTrust
from sso_issuer.app import create_app
from sso_issuer.keys import published, revoked
from sso_issuer.keys.service import Keys, RotationWish
from starlette.types import Receive, Scope, Send

from .conftest import MakeSettings

LEAKED = {"immediately": True, "revoke_former": True}


class Ledger:
    """Another service, as far as it takes access tokens from the issuer of a world. `cut` is the network between."""

    def __init__(self, world: World, service_keys: ServiceKeys) -> None:
        self.cut = False
        self.world = world
        client = ServiceClient(
            "http://issuer",
            audience="sso-issuer",
            service_tokens=service_keys.tokens("points-ledger"),
            transport=httpx.ASGITransport(self._reach),
        )
        self.keys = TenantKeys(HttpKeySource(client), pace_seconds=0)
        self.callers = Callers(FakeRegister(), keys=self.keys, public_url=PUBLIC_URL, proxies=ProxyTrust([]))

    async def _reach(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.cut:
            raise httpx.ConnectError("cut")
        await self.world.app(scope, receive, send)

    async def code_of(self, token: str) -> str | None:
        """The code with which a token is refused; None where it is taken."""
        headers = [(b"authorization", b"Bearer " + token.encode())]
        scope = {"type": "http", "headers": headers, "client": ("10.0.0.1", 1), "state": {}}
        try:
            await self.callers.authenticate(scope)
        except Unauthenticated as refusal:
            return refusal.stable_code
        return None


@pytest.fixture
async def ledger(world: World, service_keys: ServiceKeys) -> AsyncIterator[Ledger]:
    ledger = Ledger(world, service_keys)
    yield ledger
    await ledger.keys.aclose()


async def _token(world: World) -> str:
    auth = world.add_third_party()
    world.consent(auth[0], "points:read")
    answer = await world.oauth("token", auth=auth, grant_type="client_credentials")
    token: str = answer.json()["access_token"]
    return token


async def _watch(ledger: Ledger) -> None:
    """Looks as the chore of a service does."""
    while True:
        await ledger.keys.look_for_revoked()
        await asyncio.sleep(0.01)


async def _rotate(world: World, **wish: bool) -> None:
    answer = await world.client.post("/sso/v1/keys/rotate", json=wish, headers=world.admin)
    assert answer.status_code == 201, answer.text


async def test_a_revocation_is_answered_when_the_services_refuse_what_the_leaked_key_signed(
    world: World, ledger: Ledger
) -> None:
    token = await _token(world)
    assert await ledger.code_of(token) is None
    watching = asyncio.create_task(_watch(ledger))
    await ledger.keys.look_for_revoked()
    await _rotate(world, **LEAKED)
    # From here on the issuer is away.
    ledger.cut = True
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert await ledger.code_of(token) == "unknown_key"


async def test_what_the_new_key_signs_is_taken_at_once(world: World, ledger: Ledger) -> None:
    assert await ledger.code_of(await _token(world)) is None
    await _rotate(world, **LEAKED)
    assert await ledger.code_of(await _token(world)) is None
    await _rotate(world, immediately=True)
    assert await ledger.code_of(await _token(world)) is None


async def test_a_key_that_retires_in_its_time_is_not_revoked(world: World, ledger: Ledger) -> None:
    token = await _token(world)
    await _rotate(world, immediately=True)
    await ledger.keys.look_for_revoked()
    assert await ledger.code_of(token) is None


async def test_a_revocation_by_another_replica_is_told_as_well(
    world: World, ledger: Ledger, make_settings: MakeSettings
) -> None:
    token = await _token(world)
    assert await ledger.code_of(token) is None
    replica = create_app(make_settings(), register=world.register)
    async with running(replica):
        await provided(replica, Keys).rotate(world.tenant, RotationWish(immediately=True, revoke_former=True))
    await ledger.keys.look_for_revoked()
    assert await ledger.code_of(token) == "unknown_key"


async def test_the_issuer_itself_refuses_what_a_leaked_key_signed(world: World) -> None:
    auth = world.add_third_party(scopes=("users:read",))
    world.consent(auth[0], "users:read")
    token = (await world.oauth("token", auth=auth, grant_type="client_credentials")).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await world.client.get("/sso/v1/issuances", headers=headers)).status_code == 403
    await _rotate(world, **LEAKED)
    assert (await world.client.get("/sso/v1/issuances", headers=headers)).status_code == 401


async def test_a_service_that_does_not_come_back_holds_up_a_revocation_for_seconds_only(
    world: World, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoked, "_PATIENCE_SECONDS", 0.05)
    await ledger.keys.look_for_revoked()
    await _rotate(world, **LEAKED)


async def test_an_unknown_key_is_asked_about_past_what_the_issuer_itself_remembers(
    world: World, ledger: Ledger, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published set of a replica may be two seconds old; here it stays as old as that."""
    monkeypatch.setattr(published, "FRESH_SECONDS", float("inf"))
    assert await ledger.code_of(await _token(world)) is None
    before = await world.jwks()
    replica = create_app(make_settings(), register=world.register)
    async with running(replica):
        await provided(replica, Keys).rotate(world.tenant, RotationWish(immediately=True))
    token = await _token(world)
    assert await world.jwks() == before
    assert await ledger.code_of(token) is None


async def test_while_the_issuer_is_away_an_unknown_key_is_503(world: World, ledger: Ledger) -> None:
    assert await ledger.code_of(await _token(world)) is None
    await _rotate(world, immediately=True)
    token = await _token(world)
    ledger.cut = True
    with pytest.raises(Unavailable):
        await ledger.code_of(token)


async def test_the_internal_key_paths_are_for_services(world: World, service_keys: ServiceKeys) -> None:
    await _token(world)
    paths = (f"/internal/tenants/{world.tenant}/keys", "/internal/revoked-keys?watcher=0123456789abcdef")
    for path in paths:
        assert (await world.client.get(path)).status_code == 401
        assert (await world.client.get(path, headers=world.admin)).status_code == 401
        for name in ("points-ledger", "partner-onboarding", "token-service"):
            headers = service_keys.headers(name, "sso-issuer")
            assert (await world.client.get(path, headers=headers)).status_code == 200
    headers = service_keys.headers("points-ledger", "sso-issuer")
    answer = await world.client.get("/internal/tenants/t-nobody/keys", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")
    answer = await world.client.get("/internal/revoked-keys?watcher=x", headers=headers)
    assert answer.status_code == 400
