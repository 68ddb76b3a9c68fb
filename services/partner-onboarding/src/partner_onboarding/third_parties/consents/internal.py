"""The internal interface for sso-issuer about consents: never routed by the gateway, and only with a service token."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.identifiers import Tenant
from shared.times import Timestamp

from partner_onboarding.third_parties.consents.service import Consents

_Secret = Annotated[str, Field(strict=True, max_length=4096)]
_Issuer = require_service("sso-issuer")


class CodeToRedeem(BaseModel):
    code: _Secret
    client_id: _Secret
    redirect_uri: _Secret
    code_verifier: _Secret | None = None


class RedeemedCode(BaseModel):
    tenant: str
    client_id: str
    subject: str
    scopes: list[str]
    consent_version: int


class PresentConsent(BaseModel):
    client_id: str
    subject: str
    scopes: list[str]
    version: int
    since_version: int
    granted_at: Timestamp


def internal_consent_routes(consents: Consents) -> APIRouter:
    """The routes below /internal."""
    routes = APIRouter(prefix="/internal", include_in_schema=False)

    @routes.post("/authorization-codes/redeem", dependencies=[_Issuer])
    async def redeem_code(body: CodeToRedeem) -> RedeemedCode:
        redeemed = await consents.redeem(body.code, body.client_id, body.redirect_uri, body.code_verifier)
        return RedeemedCode(
            tenant=redeemed.tenant,
            client_id=redeemed.client_id,
            subject=redeemed.subject,
            scopes=list(redeemed.scopes),
            consent_version=redeemed.consent_version,
        )

    @routes.get("/tenants/{tenant}/consents/{client_id}", dependencies=[_Issuer])
    async def present_consent(tenant: Annotated[Tenant, Path()], client_id: str) -> PresentConsent:
        consent, since_version = await consents.present(tenant, client_id)
        return PresentConsent(
            client_id=consent.client_id,
            subject=consent.subject,
            scopes=list(consent.scopes),
            version=consent.version,
            since_version=since_version,
            granted_at=consent.recorded_at,
        )

    return routes
