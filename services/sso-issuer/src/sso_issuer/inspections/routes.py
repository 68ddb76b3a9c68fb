"""Inspections and examples over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier
from shared.paths import IDENTIFIER
from shared.problems import document_refusals

from sso_issuer.admins import REFUSALS, check_admin
from sso_issuer.admins import SCOPE as ADMIN
from sso_issuer.inspections.schemas import ExamplesBody, InspectedTokenBody, InspectionBody
from sso_issuer.inspections.service import Inspections
from sso_issuer.register_client import RegisterClient
from sso_issuer.vendors.domain import VendorNotFound

router = APIRouter(prefix="/sso/v1", tags=["inspections"], dependencies=document_credentials(), responses=REFUSALS)

InspectionService = Annotated[Inspections, needs(Inspections)]


async def _vendor_or_admin(
    caller: Annotated[Caller, require("points:redeem", ADMIN)],
    register: Annotated[RegisterClient, needs(RegisterClient)],
) -> Caller:
    if ADMIN in caller.scopes:
        await check_admin(caller, register)
    return caller


VendorOrAdmin = Annotated[Caller, Depends(_vendor_or_admin)]


@router.post(
    "/inspect",
    summary="What is wrong with a token",
    response_model_exclude_none=False,
    responses=document_refusals([VendorNotFound]),
)
async def inspect_token(
    body: InspectedTokenBody, response: Response, inspections: InspectionService, caller: VendorOrAdmin
) -> InspectionBody:
    """Names all that is wrong, and uses nothing up."""
    response.headers["Cache-Control"] = "no-store"
    return InspectionBody.of(await inspections.inspect(caller, body.token, any_vendor=ADMIN in caller.scopes))


@router.get(
    f"/vendors/{{vendor_id:{IDENTIFIER}}}/examples",
    summary="Tokens on which a vendor can try its verification",
    responses=document_refusals([VendorNotFound]),
)
async def list_examples(
    vendor_id: Annotated[Identifier, Path()], response: Response, inspections: InspectionService, caller: VendorOrAdmin
) -> ExamplesBody:
    if ADMIN not in caller.scopes and caller.vendor != vendor_id:
        raise VendorNotFound
    response.headers["Cache-Control"] = "no-store"
    return ExamplesBody.of(await inspections.examples(caller.tenant, vendor_id))
