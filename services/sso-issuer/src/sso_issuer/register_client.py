"""What the authority asks partner-onboarding: tenants, clients, consents, and what a code stands for."""

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
from pydantic import AfterValidator, BaseModel
from shared.calling import ServiceClient, named
from shared.errors import Unavailable
from shared.identifiers import Identifier, Tenant, is_identifier
from shared.proxies import parse_networks

from sso_issuer.authority.domain import Consent, Kind


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(networks)
    return networks


class _Tenant(BaseModel):
    tenant: Tenant


class RegisteredClient(BaseModel):
    """A client as the register knows it."""

    client_id: Identifier
    tenant: Tenant
    kind: Kind
    scopes: frozenset[str]
    redirect_uris: tuple[str, ...] = ()
    jwks: Mapping[str, Any] | None = None
    vendor_id: str | None = None
    ip_allow_list: Annotated[tuple[str, ...], AfterValidator(_check_networks)] = ()


class RedeemedCode(BaseModel):
    """What a tenant admin's consent gave a code for."""

    tenant: Tenant
    client_id: Identifier
    subject: Identifier
    scopes: frozenset[str]
    consent_version: int


class RefusedCode(BaseModel):
    """A code that gives nothing; `replayed` where it gave something before."""

    code: str
    replayed: bool = False


class _Consent(BaseModel):
    client_id: str
    subject: Identifier
    scopes: frozenset[str]
    version: int
    since_version: int = 0


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
        """A client that is not disabled, by its id alone.

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

    async def find_consent(self, tenant: str, client_id: str) -> Consent | None:
        """What the tenant consents to now; None also where the client is disabled.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        if not _is_nameable(client_id):
            return None
        path = f"/internal/tenants/{tenant}/consents/{named(client_id)}"
        found = await self._service.find(_Consent, path, absent="consent_not_found")
        if found is None:
            return None
        if found.client_id != client_id:
            raise Unavailable(log="partner-onboarding: answered for another client")
        return Consent(
            subject=found.subject, scopes=found.scopes, version=found.version, since_version=found.since_version
        )

    async def redeem_code(
        self, *, code: str, client_id: str, redirect_uri: str, code_verifier: str | None
    ) -> RedeemedCode | RefusedCode:
        """Uses an authorization code up. Asked once: a second time would read as a replay.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        answer = await self._service.post(
            "/internal/authorization-codes/redeem",
            {"code": code, "client_id": client_id, "redirect_uri": redirect_uri, "code_verifier": code_verifier},
        )
        if answer.status_code == httpx.codes.BAD_REQUEST:
            # Longer, or of other characters, than any that it gives out.
            return RefusedCode(code="invalid_grant")
        if self._service.says(answer, httpx.codes.NOT_FOUND, "invalid_grant"):
            return self._service.understand(RefusedCode, answer, status=httpx.codes.NOT_FOUND)
        return self._service.understand(RedeemedCode, answer)


def _is_nameable(client_id: str) -> bool:
    """Whether an address of the register can name such a client at all."""
    return is_identifier(client_id) and "/" not in client_id and client_id not in {".", ".."}
