"""What activations give a user, for the platform's own back ends (`users:read`)."""

from typing import Annotated, Self

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.identifiers import Identifier
from shared.paths import IDENTIFIER
from shared.problems import document_refusals
from shared.times import Timestamp

from partner_onboarding.handshake.links.entitlements import Entitlements
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.register.users.domain import UserNotFound

router = APIRouter(prefix="/v1/users", tags=["users"], dependencies=document_credentials())

LinkService = Annotated[Links, needs(Links)]


class WriteAccessBody(BaseModel):
    """Write access, and the partner that pays for it."""

    until: Annotated[Timestamp, Field(description="The end of the assigned month; from then on there is none.")]
    partner_id: str


class PlanBody(BaseModel):
    """A partner's plan, as long as the link is active."""

    partner_id: str
    name: str
    since: Timestamp


class EntitlementsBody(BaseModel):
    """What a user may do at this moment because partners have activated him or her."""

    user_id: str
    write_access: WriteAccessBody | None
    plans: list[PlanBody]

    @classmethod
    def of(cls, user_id: str, found: Entitlements) -> Self:
        access = found.write_access
        return cls(
            user_id=user_id,
            write_access=None if access is None else WriteAccessBody(until=access.until, partner_id=access.partner_id),
            plans=[PlanBody(partner_id=plan.partner_id, name=plan.name, since=plan.since) for plan in found.plans],
        )


@router.get(
    f"/{{user_id:{IDENTIFIER}}}/entitlements",
    summary="What activations give a user",
    responses=document_refusals([UserNotFound]),
)
async def get_entitlements(
    links: LinkService,
    caller: Annotated[Caller, require("users:read")],
    user_id: Annotated[Identifier, Path()],
    response: Response,
) -> EntitlementsBody:
    """Write access runs to the end of the assigned month, plans as long as the link is active."""
    response.headers["Cache-Control"] = "no-store"
    return EntitlementsBody.of(user_id, await links.entitlements(caller.tenant, user_id))
