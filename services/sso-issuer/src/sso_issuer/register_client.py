"""What the authority asks partner-onboarding: tenants, clients, consents, and what a code stands for."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from pydantic import AfterValidator, BaseModel
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.identifiers import Identifier, Tenant, is_identifier
from shared.proxies import parse_networks

from sso_issuer.authority.domain import Consent, Kind
from sso_issuer.onboarding_client import is_missing, read_answer


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    parse_networks(networks)
    return networks


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
        answer = await self._service.get(f"/internal/tenants/{tenant}")
        if answer.status_code not in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            raise Unavailable(log=f"partner-onboarding: status {answer.status_code}")
        return answer.status_code == httpx.codes.OK

    async def find_client(self, client_id: str) -> RegisteredClient | None:
        """A client that is not disabled, by its id alone.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        if not _is_nameable(client_id):
            return None
        answer = await self._service.get(f"/internal/clients/{quote(client_id, safe='')}")
        if is_missing(answer, "client_not_found"):
            return None
        found = read_answer(RegisteredClient, answer)
        if found.client_id != client_id:
            raise Unavailable(log="partner-onboarding: answered for another client")
        return found

    async def find_consent(self, tenant: str, client_id: str) -> Consent | None:
        """What the tenant consents to now; None also where the client is disabled.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        if not _is_nameable(client_id):
            return None
        answer = await self._service.get(f"/internal/tenants/{tenant}/consents/{quote(client_id, safe='')}")
        if is_missing(answer, "consent_not_found"):
            return None
        found = read_answer(_Consent, answer)
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
        if is_missing(answer, "invalid_grant"):
            return read_answer(RefusedCode, answer)
        return read_answer(RedeemedCode, answer)


def _is_nameable(client_id: str) -> bool:
    """Whether an address of the register can name such a client at all."""
    return is_identifier(client_id) and "/" not in client_id and client_id not in {".", ".."}
