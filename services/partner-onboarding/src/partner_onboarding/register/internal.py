"""The internal interface for the other services: never routed by the gateway, and only with a service token."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.identifiers import Identifier, Tenant

from partner_onboarding.register.clients.domain import Kind
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.service import Users

_Secret = Annotated[str, Field(strict=True, max_length=4096)]
_Anyone = require_service("points-ledger", "sso-issuer", "token-service", "partner-onboarding")
_SessionReaders = require_service("sso-issuer", "token-service")
_Issuer = require_service("sso-issuer")


class ClientToCheck(BaseModel):
    client_id: _Secret
    client_secret: _Secret


class CheckedClient(BaseModel):
    client_id: str
    tenant: str
    kind: Kind
    scopes: list[str]
    vendor_id: str | None
    ip_allow_list: list[str]


class KnownClient(BaseModel):
    client_id: str
    tenant: str
    kind: Kind
    scopes: list[str]
    redirect_uris: list[str]
    jwks: dict[str, Any] | None
    name: str
    vendor_id: str | None
    ip_allow_list: list[str]


class SessionToCheck(BaseModel):
    session: _Secret


class CheckedSession(BaseModel):
    tenant: str
    user_id: str
    roles: list[str]
    allowed_origins: list[str]


class UserProfile(BaseModel):
    user_id: str
    firstname: str
    lastname: str
    email: str


class KnownTenant(BaseModel):
    tenant: str
    name: str


class Allowed(BaseModel):
    allowed: bool


def internal_routes(clients: Clients, users: Users, sessions: Sessions, tenants: Tenants) -> APIRouter:
    """The routes below /internal."""
    routes = APIRouter(prefix="/internal", include_in_schema=False)

    @routes.post("/clients/check", dependencies=[_Anyone])
    async def check_client(body: ClientToCheck) -> CheckedClient:
        client = await clients.check(body.client_id, body.client_secret)
        registration = client.registration
        return CheckedClient(
            client_id=client.client_id,
            tenant=client.tenant,
            kind=registration.kind,
            scopes=list(registration.scopes),
            vendor_id=registration.vendor_id,
            ip_allow_list=list(registration.ip_allow_list),
        )

    @routes.get("/clients/{client_id}", dependencies=[_Issuer])
    async def known_client(client_id: str) -> KnownClient:
        client = await clients.enabled(client_id)
        registration = client.registration
        return KnownClient(
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

    @routes.post("/sessions/check", dependencies=[_SessionReaders])
    async def check_session(body: SessionToCheck) -> CheckedSession:
        found = await sessions.check(body.session)
        return CheckedSession(
            tenant=found.tenant,
            user_id=found.user_id,
            roles=list(found.roles),
            allowed_origins=list(found.allowed_origins),
        )

    @routes.get("/tenants/{tenant}/users/{user_id}", dependencies=[_Issuer])
    async def user_profile(tenant: Annotated[Tenant, Path()], user_id: Annotated[Identifier, Path()]) -> UserProfile:
        profile = (await users.get(tenant, user_id)).profile
        return UserProfile(user_id=user_id, firstname=profile.firstname, lastname=profile.lastname, email=profile.email)

    @routes.get("/tenants/{tenant}", dependencies=[_Issuer])
    async def known_tenant(tenant: Annotated[Tenant, Path()]) -> KnownTenant:
        found = await tenants.get(tenant)
        return KnownTenant(tenant=found.tenant, name=found.name)

    @routes.get("/origins", dependencies=[_Issuer])
    async def is_allowed_origin(origin: Annotated[str, Query(max_length=2048)]) -> Allowed:
        return Allowed(allowed=await tenants.is_allowed_origin(origin))

    return routes
