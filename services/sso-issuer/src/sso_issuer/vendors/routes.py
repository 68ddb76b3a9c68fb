"""Vendors over HTTP."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from shared.callers import Caller, document_credentials, require, require_service
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Identifier, Tenant

from sso_issuer.keys.domain import issuer_of
from sso_issuer.vendors.schemas import (
    FormerSecret,
    NamedVendor,
    NamedVendors,
    SecretIn,
    SecretOut,
    VendorIn,
    VendorOut,
    VendorPage,
)
from sso_issuer.vendors.service import NewSecret, Vendors

router = APIRouter(prefix="/sso/v1/vendors", tags=["vendors"], dependencies=document_credentials())
internal_router = APIRouter(prefix="/internal", include_in_schema=False)

VendorId = Annotated[Identifier, Path()]
#: More than any tenant has; partner-onboarding shows them all in one list.
_NAMED_AT_MOST = 1000


@router.put("/{vendor_id}", summary="Agree with a vendor", responses={201: {"model": VendorOut}})
async def put_vendor(
    vendor_id: VendorId,
    body: VendorIn,
    request: Request,
    response: Response,
    caller: Annotated[Caller, require("sso:admin")],
) -> VendorOut:
    vendors: Vendors = request.app.state.vendors
    vendor, is_new = await vendors.put(caller.tenant, vendor_id, body.agreement(vendor_id))
    response.status_code = 201 if is_new else 200
    return VendorOut.of(vendor, _issuer(request, caller.tenant))


@router.get("/{vendor_id}", summary="A vendor")
async def get_vendor(
    vendor_id: VendorId, request: Request, caller: Annotated[Caller, require("sso:admin")]
) -> VendorOut:
    vendors: Vendors = request.app.state.vendors
    return VendorOut.of(await vendors.find(caller.tenant, vendor_id), _issuer(request, caller.tenant))


@router.get("", summary="The tenant's vendors")
async def list_vendors(
    request: Request,
    caller: Annotated[Caller, require("sso:admin")],
    cursor: Annotated[Identifier | None, Query(description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> VendorPage:
    vendors: Vendors = request.app.state.vendors
    found = await vendors.page(caller.tenant, after=cursor or "", limit=limit + 1)
    page = found[:limit]
    issuer = _issuer(request, caller.tenant)
    return VendorPage(
        vendors=[VendorOut.of(vendor, issuer) for vendor in page],
        next_cursor=page[-1].vendor_id if len(found) > limit else None,
    )


@router.post(
    "/{vendor_id}/secrets", summary="A new HS256 secret, shown once", status_code=201, response_model=SecretOut
)
async def add_vendor_secret(
    vendor_id: VendorId,
    request: Request,
    caller: Annotated[Caller, require("sso:admin")],
    key: IdempotencyKey,
    body: SecretIn | None = None,
) -> Response:
    vendors: Vendors = request.app.state.vendors
    wish = body or SecretIn()
    answer = await vendors.add_secret_once(
        caller.tenant,
        vendor_id,
        overlap=timedelta(seconds=wish.overlap_seconds),
        signs_in=timedelta(seconds=wish.signs_in_seconds),
        client_id=caller.client_id,
        key=key,
        shape=_shown,
    )
    return answer.response()


@internal_router.get("/tenants/{tenant}/vendors")
async def name_vendors(
    tenant: Annotated[Tenant, Path()],
    request: Request,
    _service: Annotated[str, require_service("partner-onboarding")],
) -> NamedVendors:
    vendors: Vendors = request.app.state.vendors
    found = await vendors.page(tenant, limit=_NAMED_AT_MOST)
    return NamedVendors(
        vendors=[NamedVendor(vendor_id=vendor.vendor_id, name=vendor.agreement.name) for vendor in found]
    )


def _shown(new: NewSecret) -> Answer:
    former = None
    if new.former is not None and new.former_expires_at is not None:
        former = FormerSecret(kid=new.former.kid, expires_at=new.former_expires_at)
    shown = SecretOut(
        vendor_id=new.vendor_id,
        kid=new.secret.kid,
        secret=new.text,
        created_at=new.secret.created_at,
        signs_from=new.secret.signs_from,
        former=former,
    )
    return Answer.of(201, shown.model_dump(mode="json"), Cache_Control="no-store")


def _issuer(request: Request, tenant: str) -> str:
    public_url: str = request.app.state.settings.public_url
    return issuer_of(public_url, tenant)
