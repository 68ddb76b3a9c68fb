"""The internal interface for sso-issuer about consents: never routed by the gateway, and only with a service token."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.dependencies import needs
from shared.identifiers import Tenant
from shared.times import Timestamp

from partner_onboarding.third_parties.consents.service import Consents

_Secret = Annotated[str, Field(strict=True, max_length=4096)]
_Issuer = require_service("sso-issuer")


class CodeBody(BaseModel):
    code: _Secret
    client_id: _Secret
    redirect_uri: _Secret
    code_verifier: _Secret | None = None


class RedeemedCodeBody(BaseModel):
    tenant: str
    client_id: str
    subject: str
    scopes: list[str]
    consent_version: int


class PresentConsentBody(BaseModel):
    client_id: str
    subject: str
    scopes: list[str]
    version: int
    since_version: int
    granted_at: Timestamp


ConsentService = Annotated[Consents, needs(Consents)]
router = APIRouter(prefix="/internal", include_in_schema=False)


@router.post("/authorization-codes/redeem", dependencies=[_Issuer])
async def redeem_code(consents: ConsentService, body: CodeBody) -> RedeemedCodeBody:
    redeemed = await consents.redeem(body.code, body.client_id, body.redirect_uri, body.code_verifier)
    return RedeemedCodeBody(
        tenant=redeemed.tenant,
        client_id=redeemed.client_id,
        subject=redeemed.subject,
        scopes=list(redeemed.scopes),
        consent_version=redeemed.consent_version,
    )


@router.get("/tenants/{tenant}/consents/{client_id}", dependencies=[_Issuer])
async def present_consent(
    consents: ConsentService, tenant: Annotated[Tenant, Path()], client_id: str
) -> PresentConsentBody:
    consent, since_version = await consents.present(tenant, client_id)
    return PresentConsentBody(
        client_id=consent.client_id,
        subject=consent.subject,
        scopes=list(consent.scopes),
        version=consent.version,
        since_version=since_version,
        granted_at=consent.recorded_at,
    )
