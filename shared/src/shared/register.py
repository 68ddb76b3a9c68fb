"""The register of clients: partner-onboarding, asked over its internal interface."""

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict

from shared.calling import ServiceClient
from shared.proxies import parse_networks


@dataclass(frozen=True, slots=True)
class Client:
    """A client whose secret is right, as the register describes it."""

    client_id: str
    tenant: str
    scopes: frozenset[str]
    kind: str = "first_party"
    vendor_id: str | None = None
    ip_allow_list: tuple[str, ...] = ()


class Register(Protocol):
    """The register of clients."""

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        """The client, or None if id and secret do not match.

        Raises:
            Unavailable: the register cannot be asked.
        """


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(networks)
    return networks


class CheckedClient(BaseModel):
    """A client as the register sends it."""

    model_config = ConfigDict(strict=True)

    client_id: str
    tenant: str
    scopes: frozenset[str]
    kind: str
    vendor_id: str | None
    ip_allow_list: Annotated[tuple[str, ...], AfterValidator(_check_networks)]

    def client(self) -> Client:
        return Client(self.client_id, self.tenant, self.scopes, self.kind, self.vendor_id, self.ip_allow_list)


class HttpRegister:
    """The register over HTTP: the internal interface of partner-onboarding."""

    def __init__(self, partner_onboarding: ServiceClient) -> None:
        self._service = partner_onboarding

    async def check(self, client_id: str, client_secret: str) -> Client | None:
        asked = {"client_id": client_id, "client_secret": client_secret}
        found = await self._service.find_by(
            # The register calls an id or secret malformed if it is longer than any that it gives out.
            CheckedClient,
            "/internal/clients/check",
            asked,
            absent="invalid_client",
            malformed_is_absent=True,
        )
        return None if found is None else found.client()
