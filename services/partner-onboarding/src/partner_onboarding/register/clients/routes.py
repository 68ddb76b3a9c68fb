"""The register of clients over HTTP, for operators (`clients:admin`).

The tenant is always the caller's own. For an operator's client, other tenants' clients do not exist.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel
from shared.callers import Caller, document_credentials, require, require_any
from shared.dependencies import needs
from shared.idempotency import Answer, IdempotencyKey, RequestKey
from shared.problems import document_refusals

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients.domain import (
    ClientDisabled,
    ClientIdTaken,
    ClientInternal,
    ClientNotFound,
    ExceedsOwnRights,
    FormerSecretLive,
    MalformedClient,
    SecretNeeded,
    SecretNotFound,
    VendorIdTaken,
)
from partner_onboarding.register.clients.listings import CLIENTS, ClientPlace
from partner_onboarding.register.clients.schemas import (
    AddedSecretBody,
    ClientBody,
    ClientId,
    ClientsBody,
    ClientsQuery,
    OwnClientBody,
    RegisteredClientBody,
    RegistrationBody,
    SecretRotationBody,
)
from partner_onboarding.register.clients.service import Clients, NewSecret
from partner_onboarding.settings import Settings

router = APIRouter(prefix="/v1/clients", tags=["clients"], dependencies=document_credentials())

ClientService = Annotated[Clients, needs(Clients)]
Admin = Annotated[Caller, require("clients:admin")]
AnyClient = Annotated[Caller, require_any()]
ClientIdInPath = Annotated[ClientId, Path()]
_REFUSED_ROTATIONS: Final = (
    MalformedClient,
    ClientNotFound,
    ClientDisabled,
    FormerSecretLive,
    ExceedsOwnRights,
    ClientInternal,
)
SecretNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post(
    "",
    status_code=201,
    response_model=RegisteredClientBody,
    summary="Register a client",
    responses=document_refusals([MalformedClient, ClientIdTaken, VendorIdTaken, ExceedsOwnRights]),
)
async def register_client(
    clients: ClientService, caller: Admin, key: IdempotencyKey, body: RegistrationBody
) -> Response:
    def shape(new: NewSecret) -> Answer:
        return _secret_answer(RegisteredClientBody.of_new(new), Location=f"/v1/clients/{new.client.client_id}")

    answer = await clients.register_once(
        caller.tenant, body.registration(), takes_over=body.takes_over, by=_actor(caller), key=key, shape=shape
    )
    return answer.response()


@router.get("", summary="The tenant's clients")
async def list_clients(clients: ClientService, caller: Admin, asked: Annotated[ClientsQuery, Query()]) -> ClientsBody:
    pages = CLIENTS.of(caller.tenant)
    place = pages.place(asked.cursor)
    found = await clients.list_clients(caller.tenant, after=place.client_id if place else "", limit=asked.limit + 1)
    page = pages.cut(found, asked.limit, lambda one: ClientPlace(one.client.client_id))
    return ClientsBody(clients=[ClientBody.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/self", summary="The calling client", responses=document_refusals([ClientNotFound]))
async def get_own_client(
    clients: ClientService, settings: Annotated[Settings, needs(Settings)], caller: AnyClient, response: Response
) -> OwnClientBody:
    """Its settings, its limits, and when each of its secrets was last used."""
    response.headers["Cache-Control"] = "no-store"
    found = await clients.get(caller.tenant, caller.client_id)
    return OwnClientBody.of_own(
        found,
        requests_per_minute=settings.requests_per_client,
        partner_requests_per_minute=settings.partner_requests_per_minute,
    )


@router.post(
    "/self/secrets",
    status_code=201,
    response_model=AddedSecretBody,
    summary="Rotate one's own secret",
    responses=document_refusals([*_REFUSED_ROTATIONS, SecretNeeded]),
)
async def add_own_secret(
    clients: ClientService, caller: AnyClient, key: IdempotencyKey, body: SecretRotationBody | None = None
) -> Response:
    """As for operators. The caller shows its present secret (Basic): an access token is not enough."""
    if caller.subject is not None:
        raise SecretNeeded("Show the present secret (Authorization: Basic): a token cannot make a new one.")
    return await _add_secret(clients, caller, key, caller.client_id, body)


@router.get("/{client_id}", summary="One client", responses=document_refusals([ClientNotFound]))
async def get_client(clients: ClientService, caller: Admin, client_id: ClientIdInPath) -> ClientBody:
    return ClientBody.of(await clients.get(caller.tenant, client_id))


@router.post(
    "/{client_id}/secrets",
    status_code=201,
    response_model=AddedSecretBody,
    summary="Add a secret",
    responses=document_refusals(_REFUSED_ROTATIONS),
)
async def add_secret(
    clients: ClientService,
    caller: Admin,
    key: IdempotencyKey,
    client_id: ClientIdInPath,
    body: SecretRotationBody | None = None,
) -> Response:
    """The present secret stays good for the overlap. While two secrets are live: 409, unless `end_former`."""
    return await _add_secret(clients, caller, key, client_id, body)


@router.delete(
    "/{client_id}/secrets/{n}",
    status_code=204,
    summary="End a secret now",
    responses=document_refusals([ClientNotFound, SecretNotFound, ExceedsOwnRights, ClientInternal]),
)
async def revoke_secret(clients: ClientService, caller: Admin, client_id: ClientIdInPath, n: SecretNumber) -> None:
    await clients.revoke_secret(caller.tenant, client_id, n, by=_actor(caller))


@router.delete(
    "/{client_id}",
    status_code=204,
    summary="Take a client out of use",
    responses=document_refusals([ClientNotFound, ExceedsOwnRights, ClientInternal]),
)
async def disable_client(clients: ClientService, caller: Admin, client_id: ClientIdInPath) -> None:
    await clients.disable(caller.tenant, client_id, by=_actor(caller))


async def _add_secret(
    clients: Clients, caller: Caller, key: RequestKey | None, client_id: str, body: SecretRotationBody | None
) -> Response:
    wish = body or SecretRotationBody()
    answer = await clients.rotate_secret_once(
        caller.tenant,
        client_id,
        overlap_seconds=wish.overlap_seconds,
        end_former=wish.end_former,
        by=_actor(caller),
        key=key,
        shape=lambda new: _secret_answer(AddedSecretBody.of(new)),
    )
    return answer.response()


def _actor(caller: Caller) -> Actor:
    return Actor("client", caller.client_id)


def _secret_answer(body: BaseModel, **headers: str) -> Answer:
    return Answer.of(201, body.model_dump(mode="json"), Cache_Control="no-store", **headers)
