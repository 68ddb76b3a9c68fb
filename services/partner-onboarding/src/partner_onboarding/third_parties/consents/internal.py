"""The internal interface for sso-issuer about consents: never routed by the gateway, and only with a service token."""

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field
from shared.callers import require_service
from shared.dependencies import needs
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer
from shared.identifiers import Tenant

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


class AskedConsentBody(BaseModel):
    tenant: Tenant
    client_id: _Secret


class AskedConsentsBody(BaseModel):
    consents: Annotated[list[AskedConsentBody], Field(min_length=1, max_length=256)]


class PresentConsentBody(BaseModel):
    tenant: str
    client_id: str
    subject: str
    scopes: list[str]
    version: int
    since_version: int


class PresentConsentsBody(BaseModel):
    consents: list[PresentConsentBody]


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


async def _find_consents(call: HotCall[AskedConsentsBody]) -> Answer:
    found = await call.part(Consents).present_among([(one.tenant, one.client_id) for one in call.body.consents])
    return Answer.of(200, {"consents": [consent._asdict() for consent in found]})


FIND_CONSENTS: Final = HotRoute(
    method="POST",
    path="/internal/consents/find-many",
    name="find_consents",
    tag="internal",
    summary="Those of the consents that hold",
    services=("sso-issuer",),
    operations=HotOperation(
        _find_consents,
        body=AskedConsentsBody,
        answers={200: Answered("Found", PresentConsentsBody)},
        takes_key=False,
    ),
)
