"""Bodies of integration requests."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from shared.identifiers import Tenant
from shared.paging import Cursor, NextCursor
from shared.times import Timestamp

from partner_onboarding.register.clients.domain import THIRD_PARTY_SCOPES
from partner_onboarding.register.clients.schemas import Url
from partner_onboarding.third_parties.integrations import domain
from partner_onboarding.third_parties.integrations.applications import Receipt
from partner_onboarding.third_parties.integrations.service import Approved

RequestId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Line = Annotated[str, Field(strict=True, min_length=1, max_length=domain.MAX_NAME_CHARACTERS)]
_Words = Annotated[str, Field(strict=True, max_length=domain.MAX_TEXT_CHARACTERS)]

_EXAMPLE: JsonDict = {
    "tenant": "demo",
    "name": "Order insights",
    "organisation": "Example Analytics Ltd",
    "goals": "Show the tenant's support team how many points a customer has.",
    "scopes": ["points:read", "users:read"],
    "contact_name": "Ines Integrator",
    "contact_email": "ines@integrator.example",
    "redirect_uris": ["https://integrator.example/callback"],
    "details": "Some 200 calls an hour, from Frankfurt.",
}


class WishBody(BaseModel):
    """Who wants to build what, and which data it needs."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    tenant: Annotated[
        Tenant | None, Field(description="Whose data it is about. With credentials it is the caller's own.")
    ] = None
    name: Annotated[_Line, Field(description="What the tenant's admin will read.")]
    organisation: _Line
    goals: Annotated[_Words, Field(min_length=1)]
    scopes: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Field(min_length=1, max_length=32, examples=[list(THIRD_PARTY_SCOPES)]),
    ]
    contact_name: _Line
    contact_email: Annotated[str, Field(strict=True, max_length=254, json_schema_extra={"format": "email"})]
    redirect_uris: Annotated[list[Url], Field(min_length=1, max_length=domain.MAX_REDIRECT_URIS)]
    details: _Words = ""

    def wish(self, language: str = "en") -> domain.Wish:
        """The request of somebody who reads mails in `language`."""
        return domain.Wish(
            domain.Particulars(
                name=self.name,
                organisation=self.organisation,
                goals=self.goals,
                contact_name=self.contact_name,
                contact_email=self.contact_email,
                details=self.details,
                language=language,
            ),
            tuple(self.scopes),
            tuple(self.redirect_uris),
        )


class DeclineBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "This data is not for sale."}]}
    )

    reason: Annotated[_Words, Field(min_length=1, description="For the people who asked.")]


class SubmittedRequestBody(BaseModel):
    """The request has come in. This says nothing of whether there is such a tenant."""

    request_id: str
    state: domain.State
    submitted_at: Timestamp

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        return cls(request_id=receipt.request_id, state="submitted", submitted_at=receipt.submitted_at)


class RequestBody(BaseModel):
    """A request to the caller's tenant."""

    request_id: str
    state: domain.State
    submitted_at: Timestamp
    tenant: str
    company_named: Annotated[
        str | None,
        Field(description="What was typed for a company that is nobody's; such a request can only be declined."),
    ]
    name: str
    organisation: str
    goals: str
    scopes: list[str]
    contact_name: str
    contact_email: str
    redirect_uris: list[str]
    details: str
    decided_at: Timestamp | None
    decided_by: str | None
    reason: str | None
    client_id: str | None

    @classmethod
    def of(cls, request: domain.IntegrationRequest) -> Self:
        return cls.model_validate(_fields(request))


class ApprovedRequestBody(RequestBody):
    """The four things that an integration needs; the secret is shown this once."""

    client_id: str
    client_secret: str
    tenant_authority_url: str
    cloud_api_url: str

    @classmethod
    def of_approved(cls, approved: Approved) -> Self:
        return cls.model_validate(
            _fields(approved.request)
            | {
                "client_id": approved.client_id,
                "client_secret": approved.client_secret,
                "tenant_authority_url": approved.tenant_authority_url,
                "cloud_api_url": approved.cloud_api_url,
            }
        )


class RequestsBody(BaseModel):
    """A page of requests, newest first."""

    requests: list[RequestBody]
    next_cursor: NextCursor


class RequestsQuery(BaseModel):
    """Which requests."""

    model_config = ConfigDict(extra="forbid")

    state: domain.State | None = None
    cursor: Cursor = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


def _fields(request: domain.IntegrationRequest) -> dict[str, object]:
    particulars, decision = request.wish.particulars, request.decision
    return {
        "request_id": request.request_id,
        "state": request.state,
        "submitted_at": request.submitted_at,
        "tenant": request.tenant,
        "company_named": particulars.company_named,
        "name": particulars.name,
        "organisation": particulars.organisation,
        "goals": particulars.goals,
        "scopes": list(request.wish.scopes),
        "contact_name": particulars.contact_name,
        "contact_email": particulars.contact_email,
        "redirect_uris": list(request.wish.redirect_uris),
        "details": particulars.details,
        "decided_at": decision.decided_at if decision else None,
        "decided_by": decision.decided_by if decision else None,
        "reason": decision.reason if decision else None,
        "client_id": decision.client_id if decision else None,
    }
