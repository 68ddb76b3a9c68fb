"""The internal interface for the other services: never routed by the gateway, and only with a service token."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.dependencies import needs
from shared.identifiers import Tenant

from partner_onboarding.register.clients.credentials import Credentials
from partner_onboarding.register.clients.domain import Client, Kind
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.tenants.service import Tenants

SecretText = Annotated[str, Field(strict=True, max_length=4096)]
_Anyone = require_service("points-ledger", "sso-issuer", "token-service", "partner-onboarding")
_PageServices = require_service("sso-issuer", "token-service")
_Issuer = require_service("sso-issuer")


def checked_client(client: Client) -> dict[str, Any]:
    """What `CheckedClientBody` describes; a model takes longer to fill than the row to read."""
    registration = client.registration
    return {
        "client_id": client.client_id,
        "tenant": client.tenant,
        "kind": registration.kind,
        "scopes": list(registration.scopes),
        "vendor_id": registration.vendor_id,
        "ip_allow_list": list(registration.ip_allow_list),
    }


def checked_session(found: SignedIn) -> dict[str, Any]:
    """What `CheckedSessionBody` describes."""
    return {
        "tenant": found.tenant,
        "user_id": found.user_id,
        "roles": list(found.roles),
        "allowed_origins": list(found.allowed_origins),
        "tenant_name": found.tenant_name,
    }


class CredentialsBody(BaseModel):
    client_id: SecretText
    client_secret: SecretText


class CheckedClientBody(BaseModel):
    client_id: str
    tenant: str
    kind: Kind
    scopes: list[str]
    vendor_id: str | None
    ip_allow_list: list[str]

    @classmethod
    def of(cls, client: Client) -> "CheckedClientBody":
        return cls.model_validate(checked_client(client))


class KnownClientBody(BaseModel):
    client_id: str
    tenant: str
    kind: Kind
    scopes: list[str]
    redirect_uris: list[str]
    jwks: dict[str, Any] | None
    name: str
    vendor_id: str | None
    ip_allow_list: list[str]


class SessionBody(BaseModel):
    session: SecretText


class CheckedSessionBody(BaseModel):
    tenant: str
    user_id: str
    roles: list[str]
    allowed_origins: list[str]
    tenant_name: str

    @classmethod
    def of(cls, found: SignedIn) -> "CheckedSessionBody":
        return cls.model_validate(checked_session(found))


class TenantBody(BaseModel):
    tenant: str
    name: str


class AllowedBody(BaseModel):
    allowed: bool


CredentialService = Annotated[Credentials, needs(Credentials)]
ClientService = Annotated[Clients, needs(Clients)]
SessionService = Annotated[Sessions, needs(Sessions)]
TenantService = Annotated[Tenants, needs(Tenants)]
router = APIRouter(prefix="/internal", include_in_schema=False)


@router.post("/clients/check", dependencies=[_Anyone])
async def check_client(credentials: CredentialService, body: CredentialsBody) -> CheckedClientBody:
    return CheckedClientBody.of(await credentials.check(body.client_id, body.client_secret))


@router.get("/clients/{client_id}", dependencies=[_Issuer])
async def known_client(clients: ClientService, client_id: str) -> KnownClientBody:
    client = await clients.enabled(client_id)
    registration = client.registration
    return KnownClientBody(
        client_id=client.client_id,
        tenant=client.tenant,
        kind=registration.kind,
        scopes=list(registration.scopes),
        redirect_uris=list(registration.redirect_uris),
        jwks=dict(registration.jwks) if registration.jwks is not None else None,
        name=registration.name,
        vendor_id=registration.vendor_id,
        ip_allow_list=list(registration.ip_allow_list),
    )


@router.post("/sessions/check", dependencies=[_PageServices])
async def check_session(sessions: SessionService, body: SessionBody) -> CheckedSessionBody:
    return CheckedSessionBody.of(await sessions.check(body.session))


@router.get("/tenants/{tenant}", dependencies=[_PageServices])
async def known_tenant(tenants: TenantService, tenant: Annotated[Tenant, Path()]) -> TenantBody:
    found = await tenants.get(tenant)
    return TenantBody(tenant=found.tenant, name=found.name)


@router.get("/origins", dependencies=[_Issuer])
async def is_allowed_origin(tenants: TenantService, origin: Annotated[str, Query(max_length=2048)]) -> AllowedBody:
    return AllowedBody(allowed=await tenants.is_allowed_origin(origin))
