"""Vendors over HTTP."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response
from shared.callers import document_credentials, require_service
from shared.dependencies import needs
from shared.errors import NotFound
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Identifier, Tenant
from shared.paths import IDENTIFIER, identifier_above
from shared.preconditions import ETAG_HEADER, Condition, document_condition, etag_of
from shared.problems import document_refusals
from shared.sandboxes.domain import is_test_client
from shared.sandboxes.service import Sandboxes

from sso_issuer.admins import REFUSALS, Admin
from sso_issuer.vendors.domain import (
    AudienceReserved,
    AudienceTaken,
    FormerSecretLive,
    InvalidRedirectUrl,
    VendorNotFound,
    agreement_of_test_client,
)
from sso_issuer.vendors.schemas import (
    AgreementBody,
    FormerSecretBody,
    MadeClientBody,
    NamedVendorBody,
    NamedVendorsBody,
    SecretRotationBody,
    VendorBody,
    VendorsBody,
    VendorSecretBody,
    VendorsQuery,
)
from sso_issuer.vendors.service import NewSecret, OverlapTooShort, Vendors

router = APIRouter(prefix="/sso/v1/vendors", tags=["vendors"], dependencies=document_credentials(), responses=REFUSALS)
internal_router = APIRouter(prefix="/internal", include_in_schema=False)

VendorService = Annotated[Vendors, needs(Vendors)]
VendorId = Annotated[Identifier, Path()]
_VENDOR: Final = identifier_above("vendor", "/secrets", "/examples")
#: More vendors than any tenant has; partner-onboarding shows them in one list.
_NAMED_AT_MOST = 1000


@router.put(
    f"/{{vendor_id:{_VENDOR}}}",
    summary="Agree with a vendor",
    responses=document_condition(200)
    | {201: {"model": VendorBody, "headers": ETAG_HEADER}}
    | document_refusals([InvalidRedirectUrl, AudienceReserved, AudienceTaken]),
)
async def put_vendor(
    vendor_id: VendorId,
    body: AgreementBody,
    response: Response,
    vendors: VendorService,
    caller: Admin,
    condition: Condition,
) -> VendorBody:
    vendor, is_new = await vendors.put(
        caller.tenant, vendor_id, body.agreement(vendor_id), condition, client_id=caller.client_id
    )
    response.status_code = 201 if is_new else 200
    response.headers["ETag"] = etag_of(vendor.agreement)
    return VendorBody.of(vendor, vendors.issuer_of(caller.tenant))


@router.get(
    f"/{{vendor_id:{_VENDOR}}}",
    summary="A vendor",
    responses={200: {"headers": ETAG_HEADER}, **document_refusals([VendorNotFound])},
)
async def get_vendor(vendor_id: VendorId, response: Response, vendors: VendorService, caller: Admin) -> VendorBody:
    vendor = await vendors.find(caller.tenant, vendor_id)
    response.headers["ETag"] = etag_of(vendor.agreement)
    return VendorBody.of(vendor, vendors.issuer_of(caller.tenant))


@router.get("", summary="The tenant's vendors")
async def list_vendors(
    vendors: VendorService,
    caller: Admin,
    asked: Annotated[VendorsQuery, Query()],
) -> VendorsBody:
    page = await vendors.page(caller.tenant, cursor=asked.cursor, limit=asked.limit)
    issuer = vendors.issuer_of(caller.tenant)
    return VendorsBody(vendors=[VendorBody.of(vendor, issuer) for vendor in page.items], next_cursor=page.next_cursor)


@router.post(
    f"/{{vendor_id:{IDENTIFIER}}}/secrets",
    summary="A new HS256 secret, shown once",
    status_code=201,
    response_model=VendorSecretBody,
    responses=document_refusals([VendorNotFound, FormerSecretLive, OverlapTooShort]),
)
async def add_vendor_secret(
    vendor_id: VendorId,
    vendors: VendorService,
    caller: Admin,
    key: IdempotencyKey,
    body: SecretRotationBody | None = None,
) -> Response:
    wish = body or SecretRotationBody()
    answer = await vendors.add_secret_once(
        caller.tenant,
        vendor_id,
        overlap=timedelta(seconds=wish.overlap_seconds),
        signs_in=timedelta(seconds=wish.signs_in_seconds),
        end_former=wish.end_former,
        client_id=caller.client_id,
        key=key,
        shape=_shown,
    )
    return answer.response()


@internal_router.get("/tenants/{tenant}/vendors")
async def name_vendors(
    tenant: Annotated[Tenant, Path()],
    vendors: VendorService,
    _service: Annotated[str, require_service("partner-onboarding")],
) -> NamedVendorsBody:
    found = await vendors.shops(tenant, limit=_NAMED_AT_MOST)
    return NamedVendorsBody(
        vendors=[NamedVendorBody(vendor_id=vendor.vendor_id, name=vendor.agreement.name) for vendor in found]
    )


@internal_router.post("/tenants/{tenant}/test-clients")
async def agree_with_test_client(
    tenant: Annotated[Tenant, Path()],
    body: MadeClientBody,
    vendors: VendorService,
    sandboxes: Annotated[Sandboxes, needs(Sandboxes)],
    _service: Annotated[str, require_service("partner-onboarding")],
) -> NamedVendorBody:
    """A repeat changes nothing. Other clients have an agreement when an administrator makes one."""
    if tenant not in sandboxes or not is_test_client(body.client_id):
        raise NotFound("There is no such test client.")
    agreement = agreement_of_test_client(body.client_id)
    vendor, _ = await vendors.put(tenant, body.client_id, agreement, client_id=body.client_id)
    return NamedVendorBody(vendor_id=vendor.vendor_id, name=vendor.agreement.name)


@internal_router.get(f"/tenants/{{tenant}}/vendors/{{vendor_id:{IDENTIFIER}}}")
async def name_vendor(
    tenant: Annotated[Tenant, Path()],
    vendor_id: VendorId,
    vendors: VendorService,
    _service: Annotated[str, require_service("points-ledger")],
) -> NamedVendorBody:
    vendor = await vendors.find(tenant, vendor_id)
    return NamedVendorBody(vendor_id=vendor.vendor_id, name=vendor.agreement.name)


def _shown(new: NewSecret) -> Answer:
    former = None
    if new.former is not None and new.former_expires_at is not None:
        former = FormerSecretBody(kid=new.former.kid, expires_at=new.former_expires_at)
    shown = VendorSecretBody(
        vendor_id=new.vendor_id,
        kid=new.secret.kid,
        secret=new.text,
        created_at=new.secret.created_at,
        signs_from=new.secret.signs_from,
        former=former,
    )
    return Answer.of(201, shown.model_dump(mode="json"), Cache_Control="no-store")
