"""The environment of every process of the platform, built in one place.

Secrets are not part of it: each process finds them as files in a directory of its own, as containers do.
The caller's own environment takes precedence, so that `LEDGER_LOG_LEVEL=DEBUG make run` works, and
`LEDGER_DATABASE_URL=postgresql://… make run` uses that database.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from local_platform import secret_making
from local_platform.ports import Ports
from local_platform.secret_making import private_jwk, public_half
from local_platform.services import ONBOARDING, SERVICES, SHOP, Service, asked_by
from local_platform.state_directory import StateDirectory, secret_once, write_private

DEMO_TENANT = "demo"
#: The directory of the secrets of those who own the tables.
OWNERS = "owners"


class Environments:
    """Makes the secrets of the platform once, and the environment of each process."""

    def __init__(self, ports: Ports, state: StateDirectory) -> None:
        self._ports = ports
        self._state = state

    def database_password(self, service: Service) -> str:
        return secret_once(self._secret(service.name, "database_password"), _password)

    def owner_password(self, service: Service) -> str:
        """Of the role that owns the service's tables and migrates them; the service itself does not know it."""
        return secret_once(self._secret(OWNERS, f"{service.database}_owner_password"), _password)

    def write_migration_url(self, service: Service, database_url: str) -> None:
        """For the job that migrates, beside the service's own secrets."""
        write_private(self._secret(OWNERS, f"{service.prefix.lower()}migration_database_url"), database_url)

    def needs_embedded_database(self, service: Service) -> bool:
        return service.database_url_variable not in os.environ

    def of_service(self, service: Service, database_url: str | None) -> dict[str, str]:
        """The environment of a service; its secrets, `database_url` among them, are written beside."""
        self.write_secrets(service, database_url)
        own = {
            "MODE": "development",
            "HOST": "127.0.0.1",
            "PORT": str(self._ports.of(service)),
            "PUBLIC_URL": self._ports.public_url,
            "SERVICE_PEERS": self.service_peers(),
            "TRUSTED_PROXIES": "127.0.0.1/32",
            "INNER_PORTS": ",".join(str(port) for port in self._ports.inner()),
            # No balancer is there that would have to notice.
            "DRAIN_SECONDS": "0",
            "SHUTDOWN_SECONDS": "5",
            "SECRETS_DIR": str(self._secret(service.name)),
            **{other.address_variable: f"http://127.0.0.1:{self._ports.of(other)}" for other in asked_by(service)},
        }
        if service is ONBOARDING:
            own["MAIL_DIRECTORY"] = str(self._state.mail.absolute())
            own["PLATFORM_TENANT"] = DEMO_TENANT
            own["DEVELOPERS_SANDBOX"] = "sandbox"
            # Everybody here comes from one address, and the demonstration may be repeated at will.
            own["INTEGRATION_REQUESTS_PER_ADDRESS"] = own["REGISTRATIONS_PER_ADDRESS"] = "10000"
            # The people of demo.json sign in with their passwords alone.
            own["SECOND_FACTOR_REQUIRED"] = "false"
        return _with_callers_own({f"{service.prefix}{name}": value for name, value in own.items()})

    def of_shop(self, client_id: str, client_secret: str, vendor_id: str) -> dict[str, str]:
        """The environment of the shop, a stranger that knows the gateway and its own credentials only."""
        self.write_shop_secrets(client_secret)
        own = {
            "HOST": "127.0.0.1",
            "PORT": str(self._ports.rewards_shop),
            "PLATFORM_URL": self._ports.public_url,
            "CLIENT_ID": client_id,
            "VENDOR_ID": vendor_id,
            "ISSUER": f"{self._ports.public_url}/tenants/{DEMO_TENANT}",
            "STATE_PATH": str(self._state.shop.absolute() / "orders.sqlite"),
            "SECRETS_DIR": str(self._secret(SHOP)),
        }
        return _with_callers_own({f"SHOP_{name}": value for name, value in own.items()})

    @property
    def keeps_shop_webhook_secret(self) -> bool:
        return self._secret(SHOP, "shop_webhook_secret").exists()

    def write_shop_webhook_secret(self, secret: str) -> None:
        """The secret that signs events for the shop; the platform makes it."""
        write_private(self._secret(SHOP, "shop_webhook_secret"), secret)

    def write_shop_secrets(self, client_secret: str) -> None:
        secret_once(self._secret(SHOP, "shop_session_secret"), _password)
        write_private(self._secret(SHOP, "shop_client_secret"), client_secret)

    def write_secrets(self, service: Service, database_url: str | None) -> None:
        """Writes each secret of a service into a file named like its setting."""
        prefix = service.prefix.lower()
        write_private(self._secret(service.name, f"{prefix}service_key"), self._private_key(service))
        if database_url is not None:
            write_private(self._secret(service.name, f"{prefix}database_url"), database_url)
        if service.seals:
            name = f"{prefix}key_encryption_keys"
            secret_once(self._secret(service.name, name), lambda: f"1:{_key()}")
        for own in service.secrets:
            secret_once(self._secret(service.name, f"{prefix}{own}"), _key)

    def _private_key(self, service: Service) -> str:
        return secret_once(self._secret("keys", service.name), lambda: json.dumps(_private_jwk(service.name)))

    def password(self, *place: str) -> str:
        """Any other password, made once and kept in a file at this place among the secrets."""
        return secret_once(self._secret(*place), _password)

    def service_peers(self) -> str:
        """The public keys of all services, a JWKS."""
        return json.dumps({"keys": [public_half(json.loads(self._private_key(service))) for service in SERVICES]})

    def _secret(self, *parts: str) -> Path:
        return self._state.secrets.absolute().joinpath(*parts)


def _with_callers_own(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in ours.items()}


# Every secret made here begins with `demo`, and a service in production mode refuses to start with it.


def _password() -> str:
    return f"demo-{secret_making.password()}"


def _key() -> str:
    return f"demo/{secret_making.key()[5:]}"


def _private_jwk(name: str) -> dict[str, str]:
    return private_jwk(name) | {"made_for": "demo"}
