"""Fills the platform for the demonstration, through its real interfaces, and again without changing anything.

Tenants, clients and the people of the operations come by partner-onboarding's command line, as in production;
users, accounts, points, the shop's redirect settings and its endpoint for events by HTTP through the gateway.
"""

import json
import ssl
from pathlib import Path
from typing import Any

import httpx

from local_platform.commands import Commands
from local_platform.demonstration import VENDOR_ID, Client, Demonstration, Points, Tenant, User
from local_platform.ports import Ports

_ENDPOINTS = "/events/v1/points/endpoints"
#: By its description the shop's endpoint is known again.
_SHOP_LISTENS = "The rewards shop"


class SeedingFailed(Exception):
    """The platform refused something that the demonstration needs; the message has its answer."""


class Seeding:
    """`commands` run with the environment of partner-onboarding; `authority` has signed the gateway's certificate."""

    def __init__(
        self, demonstration: Demonstration, ports: Ports, commands: Commands, authority: Path | None = None
    ) -> None:
        self._demonstration = demonstration
        self._ports = ports
        self._commands = commands
        self._verify = ssl.create_default_context(cafile=authority) if authority is not None else True

    async def register(self) -> None:
        """Tenants, their clients, and the people of the operations."""
        for tenant in self._tenants:
            await self._create_tenant(tenant)
            for client in tenant.clients:
                await self._create_client(tenant, client)
        await self._create_person(self._demonstration.tenant_admin, "tenant_admin")
        await self._create_person(self._demonstration.operator_user, "operator")

    async def fill(self) -> Points:
        """Users, accounts, credits, vendors. Returns the points that everybody has now."""
        for tenant in self._tenants:
            async with self._http(tenant) as http:
                await _put(http, f"/sso/v1/vendors/{VENDOR_ID}", self._vendor_settings())
                for user in tenant.users:
                    await self._fill_user(http, user)
                    # A sandbox gives its users their points itself.
                    if not tenant.is_sandbox:
                        await self._credit(http, user)
        return await self.points()

    async def listen(self, *, keeps_secret: bool) -> str | None:
        """The shop's endpoint for events. Returns its secret if it is a new one.

        The platform shows a secret once: an endpoint whose secret is not kept is made anew.
        """
        endpoint = {
            "url": f"http://localhost:{self._ports.rewards_shop}/webhooks/points",
            "types": ["points.expired", "points.rolled_back"],
            "description": _SHOP_LISTENS,
        }
        demo = self._demonstration.demo
        async with self._http(demo, "vendor") as http:
            present = (await _get(http, _ENDPOINTS))["endpoints"]
            ours = [one["endpoint_id"] for one in present if one["description"] == _SHOP_LISTENS]
            if len(ours) == 1 and keeps_secret:
                _accepted(await http.patch(f"{_ENDPOINTS}/{ours[0]}", json=endpoint | {"enabled": True}))
                return None
            for endpoint_id in ours:
                _accepted(await http.delete(f"{_ENDPOINTS}/{endpoint_id}"))
            return str((await _post(http, _ENDPOINTS, endpoint))["secret"])

    async def points(self) -> Points:
        """What is available to each user at this moment."""
        points: dict[tuple[str, str], int] = {}
        for tenant in self._tenants:
            async with self._http(tenant) as http:
                for user in tenant.users:
                    account = await _get(http, f"/v1/accounts/{user.user_id}")
                    points[tenant.tenant, user.user_id] = account["available"]
        return points

    @property
    def _tenants(self) -> tuple[Tenant, ...]:
        return self._demonstration.demo, self._demonstration.other, self._demonstration.sandbox

    def _http(self, tenant: Tenant, role: str = "platform") -> httpx.AsyncClient:
        auth = tenant.client(role).auth
        return httpx.AsyncClient(
            base_url=self._ports.public_url, auth=auth, timeout=30.0, trust_env=False, verify=self._verify
        )

    async def _fill_user(self, http: httpx.AsyncClient, user: User) -> None:
        names = {"email": user.email, "firstname": user.firstname, "lastname": user.lastname}
        await _put(http, f"/v1/users/{user.user_id}", {**names, "password": user.password})
        await _put(http, f"/v1/accounts/{user.user_id}", None)

    async def _credit(self, http: httpx.AsyncClient, user: User) -> None:
        credit = {"points": user.points, "reference": "welcome", "reason": "Welcome to the demonstration"}
        await _post(http, f"/v1/accounts/{user.user_id}/credits", credit)

    def _vendor_settings(self) -> dict[str, Any]:
        return {
            "name": "Rewards shop",
            "redirect_url": f"http://localhost:{self._ports.rewards_shop}/redeem",
            "delivery": "query",
            "algorithm": "ES256",
            "lifetime_seconds": 60,
            "claim_spelling": "lower",
            "audience": VENDOR_ID,
        }

    async def _create_tenant(self, tenant: Tenant) -> None:
        origin = f"http://localhost:{self._ports.stand_in}"
        kind = ["--sandbox"] if tenant.is_sandbox else []
        told = await self._run("create-tenant", tenant.tenant, "--name", tenant.name, "--allowed-origin", origin, *kind)
        if told.get("waiting"):
            raise SeedingFailed(f"{', '.join(told['waiting'])} did not take the sandbox {tenant.tenant}")

    async def _create_client(self, tenant: Tenant, client: Client) -> None:
        arguments = ["--tenant", tenant.tenant, "--client-id", client.client_id, "--name", client.name]
        arguments += ["--kind", client.kind, "--client-secret-stdin"]
        for scope in client.scopes:
            arguments += ["--scope", scope]
        special = {
            "--vendor-id": client.vendor_id,
            "--landing-url": client.landing_url,
            "--redirect-uri": client.redirect_uri,
        }
        for option, value in special.items():
            if value is not None:
                arguments += [option, value]
        await self._run("create-client", *arguments, secret=client.client_secret)

    async def _create_person(self, user: User, role: str) -> None:
        names = ["--email", user.email, "--firstname", user.firstname, "--lastname", user.lastname]
        identity = ["--tenant", self._demonstration.demo.tenant, "--user-id", user.user_id]
        await self._run("create-user", *identity, *names, "--role", role, "--password-stdin", secret=user.password)

    async def _run(self, *command: str, secret: str = "") -> dict[str, Any]:
        """The answer of one of partner-onboarding's commands; a secret goes by its standard input, where nobody can
        look."""
        output = await self._commands.run("partner_onboarding", *command, given=f"{secret}\n" if secret else "")
        try:
            told: dict[str, Any] = json.loads(output)
        except ValueError:
            raise SeedingFailed(f"partner_onboarding {command[0]} did not answer with JSON: {output!r}") from None
        return told


async def _put(http: httpx.AsyncClient, path: str, body: Any) -> Any:
    return _accepted(await http.put(path, json=body) if body is not None else await http.put(path))


async def _post(http: httpx.AsyncClient, path: str, body: Any) -> Any:
    return _accepted(await http.post(path, json=body))


async def _get(http: httpx.AsyncClient, path: str) -> Any:
    return _accepted(await http.get(path))


def _accepted(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else None
    request = f"{response.request.method} {response.request.url.path}"
    raise SeedingFailed(f"{request} answered {response.status_code}: {response.text}")
