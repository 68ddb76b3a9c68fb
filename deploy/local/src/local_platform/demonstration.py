"""The participants of the demonstration: two tenants, their clients and users, with secrets made once.

`demo.json` is this, as text. The secrets outlive a restart in STATE_DIR/secrets; `demo.json` itself lies there
only while the platform is ready.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local_platform.gateway import certificate_authority
from local_platform.ports import Ports
from local_platform.state_directory import StateDirectory, secret_once, write_private

VENDOR_ID = "rewards-shop"


@dataclass(frozen=True)
class Client:
    """A client as `demo.json` shows it (`role` is its key there), and what its registration needs."""

    role: str
    client_id: str
    client_secret: str
    name: str
    scopes: tuple[str, ...]
    vendor_id: str | None = None
    landing_url: str | None = None
    redirect_uri: str | None = None

    @property
    def auth(self) -> tuple[str, str]:
        return self.client_id, self.client_secret

    @property
    def kind(self) -> str:
        """A third party's client waits for the tenant's consent."""
        return "third_party" if self.redirect_uri else "first_party"

    def as_json(self) -> dict[str, Any]:
        shown = {"client_id": self.client_id, "client_secret": self.client_secret, "scopes": list(self.scopes)}
        special = {"vendor_id": self.vendor_id, "landing_url": self.landing_url, "redirect_uri": self.redirect_uri}
        return shown | {name: value for name, value in special.items() if value is not None}


@dataclass(frozen=True)
class User:
    """Somebody who signs in. `points` is what a new user is given; the balance of the moment in `demo.json`."""

    user_id: str
    email: str
    password: str
    firstname: str
    lastname: str
    points: int = 0


@dataclass(frozen=True)
class Tenant:
    tenant: str
    name: str
    clients: tuple[Client, ...]
    users: tuple[User, ...]
    is_sandbox: bool = False

    def client(self, role: str) -> Client:
        return next(client for client in self.clients if client.role == role)

    def as_json(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "clients": {client.role: client.as_json() for client in self.clients},
            "users": [asdict(user) for user in self.users],
        }


@dataclass(frozen=True)
class Demonstration:
    """All participants. The shop belongs to the tenant `demo`; `other` is for trying the wall between tenants, and
    `sandbox` for trying what seldom happens."""

    demo: Tenant
    other: Tenant
    sandbox: Tenant
    tenant_admin: User
    operator_user: User


def make_demonstration(ports: Ports, state: StateDirectory) -> Demonstration:
    """The same for each start with one state directory; addresses follow the ports."""
    kept = _Secrets(state.secrets / "demonstration")
    stand_in = f"http://localhost:{ports.stand_in}"
    special = {
        "vendor": {"vendor_id": VENDOR_ID},
        "partner": {"landing_url": f"{stand_in}/partner/welcome?campaign=demo"},
        "third_party": {"redirect_uri": f"{stand_in}/integration/callback"},
    }

    def clients(tenant: str, *roles: str) -> tuple[Client, ...]:
        return tuple(
            Client(
                role=role,
                client_id=f"{tenant}-{role.replace('_', '-')}",
                client_secret=kept(f"client-{tenant}-{role}"),
                name=_CLIENTS[role][0],
                scopes=_CLIENTS[role][1],
                **special.get(role, {}),
            )
            for role in roles
        )

    def user(tenant: str, user_id: str, firstname: str, lastname: str, points: int = 0) -> User:
        email = f"{firstname}.{lastname}@{'' if tenant == 'demo' else f'{tenant}.'}example.com".lower()
        return User(user_id, email, kept(f"user-{tenant}-{user_id}"), firstname, lastname, points)

    return Demonstration(
        demo=Tenant(
            "demo",
            "Demo Points",
            clients("demo", *_CLIENTS),
            (
                user("demo", "demo-ada", "Ada", "Demo", 5000),
                user("demo", "demo-ben", "Ben", "Demo", 1200),
                user("demo", "demo-traveller", "Tilda", "Demo", 800),
            ),
        ),
        other=Tenant(
            "other",
            "Other Points",
            clients("other", "vendor", "platform"),
            (
                # The tenant `demo` has none of these ids, so that trying the wall between tenants with one of them
                # finds nobody.
                user("other", "other-dora", "Dora", "Other", 700),
                user("other", "other-carl", "Carl", "Other", 300),
            ),
        ),
        sandbox=Tenant(
            "sandbox",
            "Sandbox",
            clients("sandbox", "platform", "vendor"),
            tuple(
                User(
                    user_id, f"{user_id}@sandbox.example", kept(f"user-sandbox-{user_id}"), firstname, "Sandbox", points
                )
                for user_id, firstname, points in SANDBOX_USERS
            ),
            is_sandbox=True,
        ),
        tenant_admin=user("demo", "demo-admin", "Anna", "Admin"),
        operator_user=user("demo", "demo-operator", "Otto", "Operator"),
    )


#: By (tenant, user id).
Points = Mapping[tuple[str, str], int]


def describe(demonstration: Demonstration, points: Points, ports: Ports, state: StateDirectory) -> dict[str, Any]:
    """What `demo.json` says; `points` are the available ones of this moment."""

    def with_points(tenant: Tenant) -> dict[str, Any]:
        shown = tenant.as_json()
        for user in shown["users"]:
            user["points"] = points[tenant.tenant, user["user_id"]]
        return shown

    def sign_in(user: User) -> dict[str, str]:
        return {"email": user.email, "password": user.password}

    return {
        "gateway": ports.public_url,
        "gateway_tls": ports.public_tls_url,
        "gateway_ca": str(certificate_authority(state.gateway.absolute())),
        "services": {name: f"http://127.0.0.1:{port}" for name, port in ports.of_services().items()},
        **with_points(demonstration.demo),
        "tenant_admin": sign_in(demonstration.tenant_admin),
        "operator_user": sign_in(demonstration.operator_user),
        "other_tenant": with_points(demonstration.other),
        "sandbox": with_points(demonstration.sandbox),
    }


def write_demo_json(description: Mapping[str, Any], state: StateDirectory) -> None:
    """Writes `demo.json` (0600), whole or not at all."""
    write_private(state.demo_json, json.dumps(description, indent=2) + "\n")


#: Those whom partner-onboarding gives to every sandbox, with the points of a new round.
SANDBOX_USERS = (
    ("user-1", "Una", 10_000),
    ("user-2", "Duncan", 500),
    ("user-insufficient", "Ida", 0),
    ("user-slow", "Sloane", 10_000),
    ("user-503", "Uriel", 10_000),
    ("user-expiring", "Esra", 10_000),
)
_CLIENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "platform": (
        "The points platform",
        ("points:admin", "points:read", "sso:issue", "sso:admin", "users:read", "users:write"),
    ),
    "vendor": ("Rewards shop", ("points:redeem",)),
    "partner": ("Demonstration partner", ("partner:handshake",)),
    "campaign": ("Campaign back end", ("tokens:issue", "tokens:verify", "tokens:stats")),
    "operator": ("Operations", ("clients:admin",)),
    "third_party": ("Demonstration integration", ("points:read", "users:read")),
}


class _Secrets:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, name: str) -> str:
        return secret_once(self._directory / name, lambda: f"demo-{secrets.token_urlsafe(32)}")
