"""The one list of the platform's services.

Ports, environments, the gateway's routes, databases, containers and tests are made from it, or held against it. A new
service is a line here; `docs/recipes` and the tests name the files that follow.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """One of the services: its name, its port, and its public paths.

    Args:
        prefix: of its settings, as in `LEDGER_PORT`.
        offset: of its port from PORT_BASE.
        asks: the services that it calls, by name; their addresses are settings such as `LEDGER_ONBOARDING_URL`.
        apis: public paths for programs. Each stands for itself and all below it; `*` is any one segment.
        pages: the same for paths where a browser's cookies mean something. All others get no cookies.
        streams: public paths whose bodies have no known length.
        secrets: settings with a random key each that is made once for an installation.
    """

    name: str
    prefix: str
    offset: int
    asks: tuple[str, ...]
    apis: tuple[str, ...]
    pages: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    seals: bool = False

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def database(self) -> str:
        """Its database, and the role that owns it."""
        return self.package

    @property
    def database_url_variable(self) -> str:
        return f"{self.prefix}DATABASE_URL"

    @property
    def address_variable(self) -> str:
        """The setting of other services, after their prefix, that holds its address: `ONBOARDING_URL`."""
        return f"{self.prefix}URL"

    @property
    def gateway_variable(self) -> str:
        """The variable of the gateway that holds its address."""
        return f"GATEWAY_{self.package.upper()}"

    @property
    def public_paths(self) -> tuple[str, ...]:
        return (*self.apis, *self.pages)


LEDGER = Service(
    "points-ledger",
    "LEDGER_",
    offset=1,
    asks=("partner-onboarding", "sso-issuer"),
    apis=(
        "/eai",
        "/v1/accounts",
        "/v1/credits",
        "/v1/vendors",
        "/v1/holds",
        "/v1/ledger",
        "/events/v1/points",
    ),
    streams=("/v1/credits/import", "/eai/v1/reconciliations"),
    seals=True,
)
ISSUER = Service(
    "sso-issuer",
    "ISSUER_",
    offset=2,
    asks=("partner-onboarding", "points-ledger"),
    apis=("/sso", "/.well-known", "/tenants", "/events/v1/redirects"),
    pages=("/sso/v1/redeem", "/developers/inspect"),
    seals=True,
)
ONBOARDING = Service(
    "partner-onboarding",
    "ONBOARDING_",
    offset=3,
    asks=("sso-issuer", "points-ledger", "token-service"),
    apis=(
        "/user",
        "/v1/users",
        "/v1/clients",
        "/v1/integration-requests",
        "/v1/audit",
        # A sandbox is a kind of tenant, and tenants are the register's.
        "/v1/sandbox",
        "/events/v1/links",
    ),
    pages=(
        "/",
        "/registrieren",
        "/register",
        "/login",
        "/logout",
        "/password",
        "/account",
        "/integrations",
        "/operations",
        "/setup",
        "/consents",
        "/static",
        "/developers/test-client",
        # A tenant's admin may use the browser's session here as well.
        "/v1/consents",
    ),
    secrets=("secret_pepper", "account_name_key"),
    seals=True,
)
TOKENS = Service(
    "token-service",
    "TOKENS_",
    offset=4,
    asks=("partner-onboarding", "sso-issuer"),
    apis=("/v1/tokens", "/v1/campaigns", "/events/v1/tokens"),
    pages=("/campaigns", "/campaign-lists", "/t"),
    streams=("/v1/tokens/import",),
    seals=True,
)
#: In the order of their ports.
SERVICES = (LEDGER, ISSUER, ONBOARDING, TOKENS)

SHOP = "rewards-shop"
SHOP_OFFSET = 10


def service_named(name: str) -> Service:
    """The service of this name.

    Raises:
        KeyError: there is none.
    """
    return {service.name: service for service in SERVICES}[name]


def asked_by(service: Service) -> Iterator[Service]:
    """The services that `service` calls."""
    return (service_named(name) for name in service.asks)


def owners_of(path: str, services: Iterable[Service] = SERVICES) -> tuple[Service, ...]:
    """The services that a path leads to, the closest first; an empty tuple if none."""
    found = [(len(own), service) for service in services for own in service.public_paths if _covers(own, path)]
    return tuple(service for _, service in sorted(found, key=lambda pair: -pair[0]))


def _covers(own: str, path: str) -> bool:
    if own == "/":
        return path == "/"
    parts, asked = own.split("/"), path.split("/")
    return len(asked) >= len(parts) and all(part in {"*", given} for part, given in zip(parts, asked, strict=False))
