"""Keys over HTTP: the sets that everybody may read, and their rotation."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from shared.callers import document_credentials, require_service
from shared.dependencies import needs, provided
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Tenant, is_tenant
from shared.jwks import KeySetBody, RevokedKey, RevokedKeysBody
from shared.problems import document_refusals
from shared.shortcuts import Shortcut
from starlette.types import Scope

from sso_issuer.admins import Admin, ClientDisabled
from sso_issuer.keys.domain import KEY_SET_LIFETIME
from sso_issuer.keys.published import KeySetDocument, PublishedKeys, TenantNotFound
from sso_issuer.keys.revoked import OwnKeySource, RevokedKeys
from sso_issuer.keys.schemas import JwksBody, RotatedKeyBody, RotatedKeysBody, RotationBody
from sso_issuer.keys.service import Keys, RevocationNotImmediate, Rotation

router = APIRouter(tags=["keys"])
internal_router = APIRouter(prefix="/internal", include_in_schema=False)

Published = Annotated[PublishedKeys, needs(PublishedKeys)]

#: The services that take access tokens.
_TAKE_TOKENS: Final = ("points-ledger", "partner-onboarding", "token-service")
_CACHED: Final = {
    "Cache-Control": f"public, max-age={int(KEY_SET_LIFETIME.total_seconds())}",
    # Public keys are for everybody, also for a page that verifies a token by itself.
    "Access-Control-Allow-Origin": "*",
}


@router.get("/.well-known/jwks.json", summary="The public keys of all tenants", response_model=JwksBody)
async def all_keys(request: Request, published: Published) -> Response:
    return key_set_answer(request, await published.document(None))


@router.get(
    "/tenants/{tenant}/jwks.json",
    summary="The public keys of a tenant's authority",
    response_model=JwksBody,
    responses=document_refusals([TenantNotFound]),
)
async def tenant_keys(tenant: Annotated[Tenant, Path()], request: Request, published: Published) -> Response:
    return key_set_answer(request, await published.document(tenant))


async def _all_keys_at_once(request: Request) -> Response:
    return await all_keys(request, provided(request.app, PublishedKeys))


async def _tenant_keys_at_once(request: Request) -> Response:
    return await tenant_keys(request.path_params["tenant"], request, provided(request.app, PublishedKeys))


def _names_a_tenant(scope: Scope) -> bool:
    return is_tenant(scope["path_params"]["tenant"])


SHORTCUTS: Final = (
    Shortcut("GET", "/.well-known/jwks.json", _all_keys_at_once),
    Shortcut("GET", "/tenants/{tenant}/jwks.json", _tenant_keys_at_once, fits=_names_a_tenant),
)


@router.post(
    "/sso/v1/keys/rotate",
    summary="Replace the tenant's signing keys",
    status_code=201,
    response_model=RotatedKeysBody,
    responses={
        200: {"model": RotatedKeysBody, "description": "A successor was waiting already."},
        **document_refusals([RevocationNotImmediate, ClientDisabled]),
    },
    dependencies=document_credentials(),
)
async def rotate_keys(
    keys: Annotated[Keys, needs(Keys)],
    caller: Admin,
    key: IdempotencyKey,
    body: RotationBody | None = None,
) -> Response:
    wish = (body or RotationBody()).wish()
    answer = await keys.rotate_once(caller.tenant, caller.client_id, wish, key=key, shape=_rotated)
    return answer.response()


@internal_router.get("/tenants/{tenant}/keys")
async def current_keys(
    tenant: Annotated[Tenant, Path()],
    source: Annotated[OwnKeySource, needs(OwnKeySource)],
    _service: Annotated[str, require_service(*_TAKE_TOKENS)],
) -> KeySetBody:
    """A tenant's key set, read from the database: a service that does not know a key has to know for certain."""
    found = await source.key_set(tenant)
    if found is None:
        raise TenantNotFound
    return KeySetBody.model_validate(found)


@internal_router.get("/revoked-keys")
async def revoked_keys(
    watcher: Annotated[str, Query(pattern="[0-9a-f]{16}")],
    revoked: Annotated[RevokedKeys, needs(RevokedKeys)],
    _service: Annotated[str, require_service(*_TAKE_TOKENS)],
) -> RevokedKeysBody:
    found = await revoked.listed(watcher)
    return RevokedKeysBody(revoked=[RevokedKey(tenant=tenant, kid=kid) for tenant, kid in found])


def _rotated(rotations: list[Rotation]) -> Answer:
    shown = RotatedKeysBody(keys=[RotatedKeyBody.of(rotation) for rotation in rotations])
    is_new = any(rotation.is_new for rotation in rotations)
    return Answer.of(201 if is_new else 200, shown.model_dump(mode="json"))


def key_set_answer(request: Request, document: KeySetDocument) -> Response:
    """A key set, or 304 for a caller that has it already."""
    headers = {**_CACHED, "ETag": document.etag}
    if _is_known(request.headers.get("if-none-match"), document.etag):
        return Response(status_code=304, headers=headers)
    return Response(document.body, headers=headers, media_type="application/json")


def _is_known(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110, 13.1.2: a list of tags, compared weakly, or `*`."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags
