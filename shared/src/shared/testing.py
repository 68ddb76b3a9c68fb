"""What the tests of all services need: a real PostgreSQL, keys for service tokens, and a register to fill.

Registered as a pytest plugin by the root `conftest.py`. Tests do not share rows, since each takes a tenant of its
own (`tenant`): one migrated database a service serves the whole session.
"""

import base64
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from pydantic import SecretStr

from shared.callers import Client
from shared.embedded_postgres import EmbeddedPostgres
from shared.errors import Unavailable
from shared.logs import redact
from shared.migrating import upgrade
from shared.service_tokens import ServiceTokens

SERVICES = ("points-ledger", "sso-issuer", "partner-onboarding", "token-service")
#: https, since production mode asks for it and tests of addresses should look like production.
PUBLIC_URL = "https://points.example"

MigratedDatabase = Callable[[str], str]


class FakeRegister:
    """A register of clients in memory; `is_down` makes it unreachable, `asked` counts."""

    def __init__(self) -> None:
        self.clients: dict[tuple[str, str], Client] = {}
        self.is_down = False
        self.asked = 0

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        self.asked += 1
        if self.is_down:
            raise Unavailable(log="the register is down")
        return self.clients.get((client_id, client_secret))

    def add(
        self,
        tenant: str,
        *scopes: str,
        vendor_id: str | None = None,
        ip_allow_list: tuple[str, ...] = (),
        client_id: str | None = None,
    ) -> dict[str, str]:
        """Registers a client and returns the headers with which it calls."""
        client_id = client_id or f"client-{secrets.token_hex(4)}"
        secret = secrets.token_urlsafe(32)
        self.clients[client_id, secret] = Client(
            client_id, tenant, frozenset(scopes), "first_party", vendor_id, ip_allow_list
        )
        return basic(client_id, secret)


def basic(client_id: str, client_secret: str) -> dict[str, str]:
    """The Authorization header of RFC 7617."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()}


class ServiceKeys:
    """A key pair for each service, as settings take them."""

    def __init__(self) -> None:
        self._private = {name: _private_jwk(name) for name in SERVICES}
        public = [{key: value for key, value in jwk.items() if key != "d"} for jwk in self._private.values()]
        self.peers = json.dumps({"keys": public})

    def private(self, name: str) -> str:
        return json.dumps(self._private[name])

    def tokens(self, name: str) -> ServiceTokens:
        """Speaks as the service `name`."""
        return ServiceTokens(SecretStr(self.private(name)), self.peers)

    def headers(self, caller: str, callee: str) -> dict[str, str]:
        """With which `caller` calls an internal path of `callee`."""
        return {"Authorization": f"Bearer {self.tokens(caller).mint(callee)}"}


def _private_jwk(name: str) -> Mapping[str, str]:
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()

    def encode(number: int) -> str:
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    public = numbers.public_numbers
    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": name,
        "alg": "ES256",
        "x": encode(public.x),
        "y": encode(public.y),
        "d": encode(numbers.private_value),
    }


@asynccontextmanager
async def running(app: FastAPI, base_url: str = PUBLIC_URL) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` while its lifespan runs; unexpected errors come as answers, as over a network."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
            yield client


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """As in a running service, tracebacks show no values of variables; tests read what a service would print."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(default=repr),
        ],
        cache_logger_on_first_use=False,
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for the session. Nothing in it outlives the session, so it need not wait for the disk."""
    with tempfile.TemporaryDirectory(prefix="points-tests-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", settings={"fsync": "off"})
        server.start()
        try:
            yield server
        finally:
            server.stop()


def new_database(server: EmbeddedPostgres, package: str, name: str | None = None) -> str:
    """The URL of a database that the real migrations of `package` have just built, under a role of its own.

    Args:
        name: of database and role; the package's if None.
    """
    password = secrets.token_urlsafe(16)
    name = name or package
    server.create_role_and_database(name, password)
    url = server.url(name, name, password)
    upgrade(url, package)
    return url


@pytest.fixture(scope="session")
def migrated_database(postgres: EmbeddedPostgres) -> MigratedDatabase:
    """package → URL of its database, built by its real migrations, under a role of its own."""
    urls: dict[str, str] = {}

    def of(package: str) -> str:
        if package not in urls:
            urls[package] = new_database(postgres, package)
        return urls[package]

    return of


@pytest.fixture(scope="session")
def service_keys() -> ServiceKeys:
    return ServiceKeys()


@pytest.fixture
def register() -> FakeRegister:
    return FakeRegister()


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test knows."""
    return f"t-{secrets.token_hex(6)}"
