"""Keys over HTTP: the sets that everybody may read, and their rotation."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Tenant

from sso_issuer.keys.domain import KEY_SET_LIFETIME
from sso_issuer.keys.published import KeySetDocument, PublishedKeys
from sso_issuer.keys.schemas import JwksBody, RotatedKeyBody, RotatedKeysBody, RotationBody
from sso_issuer.keys.service import Keys, Rotation

router = APIRouter(tags=["keys"])

Published = Annotated[PublishedKeys, needs(PublishedKeys)]

_CACHED: Final = {
    "Cache-Control": f"public, max-age={int(KEY_SET_LIFETIME.total_seconds())}",
    # Public keys are for everybody, also for a page that verifies a token by itself.
    "Access-Control-Allow-Origin": "*",
}


@router.get("/.well-known/jwks.json", summary="The public keys of all tenants", response_model=JwksBody)
async def all_keys(request: Request, published: Published) -> Response:
    return _answer(request, await published.document(None))


@router.get("/tenants/{tenant}/jwks.json", summary="The public keys of a tenant's authority", response_model=JwksBody)
async def tenant_keys(tenant: Annotated[Tenant, Path()], request: Request, published: Published) -> Response:
    return _answer(request, await published.document(tenant))


@router.post(
    "/sso/v1/keys/rotate",
    summary="Replace the tenant's signing keys",
    status_code=201,
    response_model=RotatedKeysBody,
    responses={200: {"model": RotatedKeysBody, "description": "A successor was waiting already."}},
    dependencies=document_credentials(),
)
async def rotate_keys(
    keys: Annotated[Keys, needs(Keys)],
    caller: Annotated[Caller, require("sso:admin")],
    key: IdempotencyKey,
    body: RotationBody | None = None,
) -> Response:
    wish = (body or RotationBody()).wish()
    answer = await keys.rotate_once(caller.tenant, caller.client_id, wish, key=key, shape=_rotated)
    return answer.response()


def _rotated(rotations: list[Rotation]) -> Answer:
    shown = RotatedKeysBody(keys=[RotatedKeyBody.of(rotation) for rotation in rotations])
    is_new = any(rotation.is_new for rotation in rotations)
    return Answer.of(201 if is_new else 200, shown.model_dump(mode="json"))


def _answer(request: Request, document: KeySetDocument) -> Response:
    headers = {**_CACHED, "ETag": document.etag}
    if _is_known(request.headers.get("if-none-match"), document.etag):
        return Response(status_code=304, headers=headers)
    return Response(document.body, headers=headers, media_type="application/json")


def _is_known(if_none_match: str | None, etag: str) -> bool:
    """RFC 9110, 13.1.2: a list of tags, compared weakly, or `*`."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags
