"""The authority's questions to partner-onboarding: tenants, clients, consents and authorization codes."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel
from shared.calling import ServiceClient, named
from shared.errors import Unavailable
from shared.identifiers import Identifier, Tenant, is_identifier
from shared.proxies import parse_networks
from shared.register import CheckedClient, Client

from sso_issuer.authority.domain import Consent, Kind
from sso_issuer.questions import in_parts


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(networks)
    return networks


class _Tenant(BaseModel):
    tenant: Tenant


class RegisteredClient(BaseModel):
    """A client of the register."""

    client_id: Identifier
    tenant: Tenant
    kind: Kind
    scopes: frozenset[str]
    redirect_uris: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None
    vendor_id: str | None = None
    ip_allow_list: Annotated[tuple[str, ...], AfterValidator(_check_networks)] = ()


class RedeemedCode(BaseModel):
    """The grant behind an authorization code."""

    tenant: Tenant
    client_id: Identifier
    subject: Identifier
    scopes: frozenset[str]
    consent_version: int


class RefusedCode(BaseModel):
    """A refused code; `replayed` if it was used before."""

    code: str
    replayed: bool = False


class _Consent(BaseModel):
    tenant: str
    client_id: str
    subject: Identifier
    scopes: frozenset[str]
    version: int
    since_version: int = 0


class _Consents(BaseModel):
    consents: list[_Consent]


class _Clients(BaseModel):
    clients: list[CheckedClient]


class RegisterClient:
    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def has_tenant(self, tenant: str) -> bool:
        """Whether there is such a tenant.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return await self._service.find(_Tenant, f"/internal/tenants/{tenant}", absent="tenant_not_found") is not None

    async def find_client(self, client_id: str) -> RegisteredClient | None:
        """The client with this id, unless it is disabled.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        if not _is_nameable(client_id):
            return None
        path = f"/internal/clients/{named(client_id)}"
        found = await self._service.find(RegisteredClient, path, absent="client_not_found")
        if found is not None and found.client_id != client_id:
            raise Unavailable(log="partner-onboarding: answered for another client")
        return found

    async def standings(self, client_ids: Iterable[str]) -> dict[str, Client | None]:
        """What each of these clients may do now; None for one that is disabled.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return await in_parts(self._find_standings, client_ids)

    async def consents(self, asked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Consent | None]:
        """The tenants' present consents by tenant and client id; None also where the client is disabled.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return await in_parts(self._find_consents, asked)

    async def redeem_code(
        self, *, code: str, client_id: str, redirect_uri: str, code_verifier: str | None
    ) -> RedeemedCode | RefusedCode:
        """Uses an authorization code up. Never retried, since a second call would count as a replay.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        answer = await self._service.post(
            "/internal/authorization-codes/redeem",
            {"code": code, "client_id": client_id, "redirect_uri": redirect_uri, "code_verifier": code_verifier},
        )
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            # The register gives out no code of this length or with these characters.
            return RefusedCode(code="invalid_grant")
        if self._service.says(answer, HTTPStatus.NOT_FOUND, "invalid_grant"):
            return self._service.understand(RefusedCode, answer, status=HTTPStatus.NOT_FOUND)
        return self._service.understand(RedeemedCode, answer)

    async def _find_standings(self, client_ids: Sequence[str]) -> dict[str, Client | None]:
        answer = await self._service.ask("/internal/clients/find-many", {"client_ids": client_ids})
        found = self._service.understand(_Clients, answer).clients
        absent: dict[str, Client | None] = dict.fromkeys(client_ids)
        return absent | {client.client_id: client.client() for client in found}

    async def _find_consents(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Consent | None]:
        consents = [{"tenant": tenant, "client_id": client_id} for tenant, client_id in asked]
        answer = await self._service.ask("/internal/consents/find-many", {"consents": consents})
        absent: dict[tuple[str, str], Consent | None] = dict.fromkeys(asked)
        return absent | {
            (one.tenant, one.client_id): Consent(
                subject=one.subject, scopes=one.scopes, version=one.version, since_version=one.since_version
            )
            for one in self._service.understand(_Consents, answer).consents
        }


def _is_nameable(client_id: str) -> bool:
    """Whether such a client id fits into a path of the register."""
    return is_identifier(client_id) and "/" not in client_id and client_id not in {".", ".."}
