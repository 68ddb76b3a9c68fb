"""Bodies of the client register."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from shared.identifiers import Identifier
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp

from partner_onboarding.register.clients import domain
from partner_onboarding.register.clients.service import Listed, NewSecret

Url = Annotated[str, Field(max_length=2048)]
Scope = Annotated[str, Field(max_length=64, examples=list(domain.SCOPES))]
Network = Annotated[str, Field(max_length=64)]
ClientId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

_EXAMPLE: JsonDict = {
    "name": "Reward shop",
    "scopes": ["points:redeem"],
    "vendor_id": "shop",
    "ip_allow_list": ["192.0.2.0/24"],
}


class RegistrationBody(BaseModel):
    """A client to be registered for the caller's own tenant."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    kind: domain.Kind = "first_party"
    scopes: Annotated[list[Scope], Field(max_length=domain.MAX_ENTRIES)] = []
    vendor_id: Identifier | None = None
    ip_allow_list: Annotated[
        list[Network],
        Field(max_length=domain.MAX_ENTRIES, description="Networks it may call from; none: any."),
    ] = []
    landing_url: Annotated[Url | None, Field(description="Where people land after the registration handshake.")] = None
    redirect_uris: Annotated[list[Url], Field(max_length=domain.MAX_ENTRIES)] = []
    jwks: Annotated[
        dict[str, Any] | None, Field(description="Public keys with which it signs who it is (private_key_jwt).")
    ] = None

    takes_over: Annotated[
        bool, Field(strict=True, description="The live client that has the vendor id now is disabled.")
    ] = False

    def registration(self) -> domain.Registration:
        return domain.Registration(
            name=self.name,
            kind=self.kind,
            scopes=tuple(self.scopes),
            vendor_id=self.vendor_id,
            ip_allow_list=tuple(self.ip_allow_list),
            landing_url=self.landing_url,
            redirect_uris=tuple(self.redirect_uris),
            jwks=self.jwks,
        )


class SecretRotationBody(BaseModel):
    """How long the former secret stays good beside the new one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_seconds": 86400}]})

    overlap_seconds: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=domain.MAX_OVERLAP_SECONDS,
            description="0 ends all former secrets at once, as after a leak.",
        ),
    ] = 86_400
    end_former: Annotated[
        bool, Field(strict=True, description="While two secrets are live: ends the former one now, instead of 409.")
    ] = False


class ClientSecretBody(BaseModel):
    """What is known of a secret after it was shown once."""

    n: int
    created_at: Timestamp
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    last_used_at: Annotated[Timestamp | None, Field(description="Written some seconds behind.")]

    @classmethod
    def of(cls, secret: domain.Secret) -> Self:
        return cls(
            n=secret.n,
            created_at=secret.created_at,
            expires_at=secret.expires_at,
            revoked_at=secret.revoked_at,
            last_used_at=secret.last_used_at,
        )


class ClientBody(BaseModel):
    """A client of the caller's tenant."""

    client_id: str
    tenant: str
    name: str
    kind: domain.Kind
    scopes: list[str]
    vendor_id: str | None
    ip_allow_list: list[str]
    landing_url: str | None
    redirect_uris: list[str]
    jwks: dict[str, Any] | None
    created_at: Timestamp
    disabled_at: Timestamp | None
    secrets: list[ClientSecretBody]

    @classmethod
    def of(cls, listed: Listed) -> Self:
        return cls.model_validate(_fields(listed.client, listed.secrets))


class LimitsBody(BaseModel):
    """What bounds a client's calls."""

    live_secrets: Annotated[int, Field(description="At most, of one client.")]
    longest_overlap_seconds: int
    requests_per_minute: Annotated[
        int | None, Field(description="To each process of a service; null: any number. `RateLimit` says what remains.")
    ]
    partner_requests_per_minute: Annotated[
        int | None, Field(description="On the partner interface; null for other clients.")
    ]


class OwnClientBody(ClientBody):
    """The calling client itself."""

    limits: LimitsBody

    @classmethod
    def of_own(cls, listed: Listed, *, requests_per_minute: int, partner_requests_per_minute: int) -> Self:
        """`requests_per_minute` is 0 for any number."""
        is_partner = "partner:handshake" in listed.client.registration.scopes
        limits = LimitsBody(
            live_secrets=domain.LIVE_SECRETS,
            longest_overlap_seconds=domain.MAX_OVERLAP_SECONDS,
            requests_per_minute=requests_per_minute or None,
            partner_requests_per_minute=partner_requests_per_minute if is_partner else None,
        )
        return cls.model_validate(_fields(listed.client, listed.secrets) | {"limits": limits})


class RegisteredClientBody(ClientBody):
    """A new client; the secret is shown this once."""

    client_secret: str

    @classmethod
    def of_new(cls, new: NewSecret) -> Self:
        return cls.model_validate(_fields(new.client, new.secrets) | {"client_secret": new.client_secret})


class AddedSecretBody(BaseModel):
    """A new secret, shown this once, among the client's secrets."""

    client_id: str
    n: int
    client_secret: str
    secrets: list[ClientSecretBody]

    @classmethod
    def of(cls, new: NewSecret) -> Self:
        return cls(
            client_id=new.client.client_id,
            n=new.n,
            client_secret=new.client_secret,
            secrets=[ClientSecretBody.of(secret) for secret in new.secrets],
        )


class ClientsBody(BaseModel):
    """A page of clients."""

    clients: list[ClientBody]
    next_cursor: NextCursor


class ClientsQuery(BaseModel):
    """Which page of the clients."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


def _fields(client: domain.Client, secrets: Sequence[domain.Secret]) -> dict[str, object]:
    registration = client.registration
    return {
        "client_id": client.client_id,
        "tenant": client.tenant,
        "name": registration.name,
        "kind": registration.kind,
        "scopes": list(registration.scopes),
        "vendor_id": registration.vendor_id,
        "ip_allow_list": list(registration.ip_allow_list),
        "landing_url": registration.landing_url,
        "redirect_uris": list(registration.redirect_uris),
        "jwks": dict(registration.jwks) if registration.jwks is not None else None,
        "created_at": client.created_at,
        "disabled_at": client.disabled_at,
        "secrets": [ClientSecretBody.of(secret) for secret in secrets],
    }
