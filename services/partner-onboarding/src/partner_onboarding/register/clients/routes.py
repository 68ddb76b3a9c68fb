"""The register of clients over HTTP, for operators (`clients:admin`).

The tenant is always the caller's own. For an operator's client, other tenants' clients do not exist.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from shared.callers import Caller, document_credentials, require
from shared.idempotency import Answer, Answers, IdempotencyKey, Transaction

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.clients import schemas
from partner_onboarding.register.clients.service import Clients

_Admin = Annotated[Caller, require("clients:admin")]
_ClientId = Annotated[schemas.ClientId, Path()]
_N = Annotated[int, Path(ge=1, le=2**31 - 1)]


def client_routes(clients: Clients, answers: Answers) -> APIRouter:
    """The routes below /v1/clients."""
    routes = APIRouter(prefix="/v1/clients", tags=["clients"], dependencies=document_credentials())

    @routes.post("", status_code=201, response_model=schemas.ClientRegistered, summary="Register a client")
    async def register_client(caller: _Admin, key: IdempotencyKey, body: schemas.ClientToRegister) -> Response:
        async def register(connection: Transaction) -> Answer:
            new = await clients.register(connection, caller.tenant, body.registration(), by=_actor(caller))
            return _secret_answer(schemas.registered(new), Location=f"/v1/clients/{new.client.client_id}")

        return (await answers.once(caller.tenant, caller.client_id, key, register)).response()

    @routes.get("", response_model=schemas.ClientList, summary="The tenant's clients")
    async def list_clients(
        caller: _Admin,
        cursor: Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> schemas.ClientList:
        found = await clients.list_clients(caller.tenant, after=cursor, limit=limit + 1)
        more = len(found) > limit
        page = found[:limit]
        return schemas.ClientList(
            clients=[schemas.shown(one) for one in page], next_cursor=page[-1].client.client_id if more else None
        )

    @routes.get("/{client_id}", response_model=schemas.ClientShown, summary="One client")
    async def get_client(caller: _Admin, client_id: _ClientId) -> schemas.ClientShown:
        return schemas.shown(await clients.get(caller.tenant, client_id))

    @routes.post("/{client_id}/secrets", status_code=201, response_model=schemas.SecretAdded, summary="Add a secret")
    async def add_secret(
        caller: _Admin, key: IdempotencyKey, client_id: _ClientId, body: schemas.SecretToAdd | None = None
    ) -> Response:
        """The former secret stays good for the overlap asked for; older ones end at once, so that two are live
        at most."""
        overlap_seconds = (body or schemas.SecretToAdd()).overlap_seconds

        async def rotate(connection: Transaction) -> Answer:
            new = await clients.rotate_secret(
                connection, caller.tenant, client_id, overlap_seconds=overlap_seconds, by=_actor(caller)
            )
            return _secret_answer(schemas.added(new))

        return (await answers.once(caller.tenant, caller.client_id, key, rotate)).response()

    @routes.delete("/{client_id}/secrets/{n}", status_code=204, summary="End a secret now")
    async def revoke_secret(caller: _Admin, client_id: _ClientId, n: _N) -> None:
        await clients.revoke_secret(caller.tenant, client_id, n, by=_actor(caller))

    @routes.delete("/{client_id}", status_code=204, summary="Take a client out of use")
    async def disable_client(caller: _Admin, client_id: _ClientId) -> None:
        await clients.disable(caller.tenant, client_id, by=_actor(caller))

    return routes


def _actor(caller: Caller) -> Actor:
    return Actor("client", caller.client_id)


def _secret_answer(body: Any, **headers: str) -> Answer:
    return Answer.of(201, body.model_dump(mode="json"), Cache_Control="no-store", **headers)
