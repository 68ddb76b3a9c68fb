"""Receipts over HTTP: their keys for everybody, their signature for the ledger alone."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from shared.callers import require_service
from shared.dependencies import needs
from shared.identifiers import Tenant
from shared.problems import document_refusals

from sso_issuer.authority.authorities import Authorities
from sso_issuer.keys.published import TenantNotFound
from sso_issuer.keys.routes import key_set_answer
from sso_issuer.keys.schemas import JwksBody
from sso_issuer.receipts.schemas import FactsBody, SignedReceiptBody
from sso_issuer.receipts.service import Receipts

router = APIRouter(tags=["receipts"])
internal_router = APIRouter(prefix="/internal", include_in_schema=False)

_Service = Annotated[Receipts, needs(Receipts)]
_Authorities = Annotated[Authorities, needs(Authorities)]


@router.get(
    "/tenants/{tenant}/receipts/jwks.json",
    summary="The public keys of a tenant's receipts",
    response_model=JwksBody,
    responses=document_refusals([TenantNotFound]),
)
async def receipt_keys(
    tenant: Annotated[Tenant, Path()], request: Request, receipts: _Service, authorities: _Authorities
) -> Response:
    """All keys that ever signed a receipt: none is withdrawn. A key whose private half leaked has the member `revoked`
    with `revoked_at` (seconds since 1970) and `reason`: its signatures prove nothing any more, so ask for new
    receipts."""
    await authorities.check(tenant)
    return key_set_answer(request, await receipts.document(tenant))


@internal_router.post("/tenants/{tenant}/receipts")
async def sign_receipt(
    tenant: Annotated[Tenant, Path()],
    body: FactsBody,
    receipts: _Service,
    authorities: _Authorities,
    _service: Annotated[str, require_service("points-ledger")],
) -> SignedReceiptBody:
    """Changes nothing, and may be repeated."""
    await authorities.check(tenant)
    return SignedReceiptBody(receipt=await receipts.sign(tenant, body.facts()))
