"""The internal interface for the other services: never routed by the gateway, and only with a service token."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.dependencies import needs
from shared.identifiers import Identifier, Tenant

from partner_onboarding.register.clients.domain import Client, Kind
from partner_onboarding.register.clients.service import Clients
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.domain import User
from partner_onboarding.register.users.service import Users

_Secret = Annotated[str, Field(strict=True, max_length=4096)]
_Anyone = require_service("points-ledger", "sso-issuer", "token-service", "partner-onboarding")
_PageServices = require_service("sso-issuer", "token-service")
_Issuer = require_service("sso-issuer")


class CredentialsBody(BaseModel):
    client_id: _Secret
    client_secret: _Secret


class CheckedClientBody(BaseModel):
    client_id: str
    tenant: str
    kind: Kind
    scopes: list[str]
    vendor_id: str | None
    ip_allow_list: list[str]

    @classmethod
    def of(cls, client: Client) -> "CheckedClientBody":
        registration = client.registration
        return cls(
            client_id=client.client_id,
            tenant=client.tenant,
            kind=registration.kind,
            scopes=list(registration.scopes),
            vendor_id=registration.vendor_id,
            ip_allow_list=list(registration.ip_allow_list),
        )


class ManyCredentialsBody(BaseModel):
    credentials: Annotated[list[CredentialsBody], Field(min_length=1, max_length=256)]


class CheckedClientsBody(BaseModel):
    clients: list[CheckedClientBody | None]


class ClientIdsBody(BaseModel):
    client_ids: Annotated[list[Identifier], Field(min_length=1, max_length=256)]


class FoundClientsBody(BaseModel):
    clients: list[CheckedClientBody]


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
    session: _Secret


class CheckedSessionBody(BaseModel):
    tenant: str
    user_id: str
    roles: list[str]
    allowed_origins: list[str]
    tenant_name: str

    @classmethod
    def of(cls, found: SignedIn) -> "CheckedSessionBody":
        return cls(
            tenant=found.tenant,
            user_id=found.user_id,
            roles=list(found.roles),
            allowed_origins=list(found.allowed_origins),
            tenant_name=found.tenant_name,
        )


class SessionsBody(BaseModel):
    sessions: Annotated[list[_Secret], Field(min_length=1, max_length=256)]


class CheckedSessionsBody(BaseModel):
    sessions: list[CheckedSessionBody | None]


class ProfileBody(BaseModel):
    user_id: str
    firstname: str
    lastname: str
    email: str
    email_verified: bool

    @classmethod
    def of(cls, user: User) -> "ProfileBody":
        return cls(
            user_id=user.user_id,
            firstname=user.profile.firstname,
            lastname=user.profile.lastname,
            email=user.profile.email,
            email_verified=user.owns_email,
        )


class UsersBody(BaseModel):
    """The users whose profiles another service asks for."""

    user_ids: Annotated[list[Identifier], Field(min_length=1, max_length=256)]


class ProfilesBody(BaseModel):
    profiles: list[ProfileBody]
    absent: list[str]


class TenantBody(BaseModel):
    tenant: str
    name: str


class AllowedBody(BaseModel):
    allowed: bool


ClientService = Annotated[Clients, needs(Clients)]
UserService = Annotated[Users, needs(Users)]
SessionService = Annotated[Sessions, needs(Sessions)]
TenantService = Annotated[Tenants, needs(Tenants)]
router = APIRouter(prefix="/internal", include_in_schema=False)


@router.post("/clients/check", dependencies=[_Anyone])
async def check_client(clients: ClientService, body: CredentialsBody) -> CheckedClientBody:
    return CheckedClientBody.of(await clients.check(body.client_id, body.client_secret))


@router.post("/clients/check-many", dependencies=[_Issuer])
async def check_clients(clients: ClientService, body: ManyCredentialsBody) -> CheckedClientsBody:
    """What `check` says of each, in order; null where it refuses."""
    found = await clients.check_all([(one.client_id, one.client_secret) for one in body.credentials])
    return CheckedClientsBody(clients=[None if client is None else CheckedClientBody.of(client) for client in found])


@router.post("/clients/find-many", dependencies=[_Issuer])
async def find_clients(clients: ClientService, body: ClientIdsBody) -> FoundClientsBody:
    """Those that are there and not disabled."""
    found = await clients.enabled_among(body.client_ids)
    return FoundClientsBody(clients=[CheckedClientBody.of(client) for client in found])


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


@router.post("/sessions/check-many", dependencies=[_Issuer])
async def check_sessions(sessions: SessionService, body: SessionsBody) -> CheckedSessionsBody:
    """What `check` says of each, in order; null where it refuses."""
    found = await sessions.check_all(body.sessions)
    return CheckedSessionsBody(sessions=[None if one is None else CheckedSessionBody.of(one) for one in found])


@router.post("/tenants/{tenant}/profiles", dependencies=[_Issuer])
async def user_profiles(users: UserService, tenant: Annotated[Tenant, Path()], body: UsersBody) -> ProfilesBody:
    """The profiles of many users, and the ids that are nobody's."""
    found = {user.user_id: user for user in await users.get_enabled(tenant, body.user_ids)}
    return ProfilesBody(
        profiles=[ProfileBody.of(user) for user in found.values()],
        absent=[user_id for user_id in dict.fromkeys(body.user_ids) if user_id not in found],
    )


@router.get("/tenants/{tenant}", dependencies=[_PageServices])
async def known_tenant(tenants: TenantService, tenant: Annotated[Tenant, Path()]) -> TenantBody:
    found = await tenants.get(tenant)
    return TenantBody(tenant=found.tenant, name=found.name)


@router.get("/origins", dependencies=[_Issuer])
async def is_allowed_origin(tenants: TenantService, origin: Annotated[str, Query(max_length=2048)]) -> AllowedBody:
    return AllowedBody(allowed=await tenants.is_allowed_origin(origin))
