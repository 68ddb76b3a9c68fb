"""`/v1/campaigns`: parse → one use case → shape."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime
from shared.callers import Caller, document_credentials, require
from shared.errors import Malformed
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.paging import Cursor
from shared.web.addresses import check_address

from token_service.campaigns import schemas
from token_service.campaigns.domain import Bucket
from token_service.campaigns.service import CampaignService
from token_service.tokens.orders import check_moment
from token_service.tokens.routes import ISSUE, STATS

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], dependencies=document_credentials())

Moment = Annotated[AwareDatetime, AfterValidator(check_moment)]
CampaignId = Annotated[Identifier, Path(examples=["spring-sale"])]
_PATH = "/{campaign_id:path}"


@router.get("", summary="The campaigns")
async def list_campaigns(
    request: Request,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    caller: Caller = require(STATS),
) -> schemas.CampaignsBody:
    """Campaigns with their counts, in the order of their ids."""
    page = await _service(request).campaigns(caller.tenant, cursor=cursor, limit=limit)
    shown = [schemas.CampaignBody.of(campaign, sums) for campaign, sums in page.items]
    return schemas.CampaignsBody(campaigns=shown, next_cursor=page.next_cursor)


@router.get(
    f"{_PATH}/stats",
    summary="Statistics of a campaign",
    responses={200: {"content": {"application/json": {"schema": schemas.STATISTICS_SCHEMA}}}},
)
async def campaign_stats(
    request: Request,
    campaign_id: CampaignId,
    bucket: Annotated[Bucket, Query(description="In UTC; those in which nothing happened are left out.")] = Bucket.DAY,
    since: Annotated[Moment | None, Query(description="Counts of hours from here on only.")] = None,
    until: Annotated[Moment | None, Query(description="Counts of hours before this only.")] = None,
    caller: Caller = require(STATS),
) -> Response:
    """Issued, opened, verified by kind of caller, distinct, and refused by reason; in total and over time."""
    service = _service(request)
    statistics = await service.statistics(caller.tenant, campaign_id, bucket, since=since, until=until)
    body = schemas.statistics_body(statistics, await service.refused_without_campaign(caller.tenant))
    return Answer.of(200, body, Cache_Control="no-store").response()


@router.delete(f"{_PATH}/tokens", summary="Revoke all tokens of a campaign")
async def revoke_campaign_tokens(
    request: Request, campaign_id: CampaignId, caller: Caller = require(ISSUE)
) -> schemas.RevokedBody:
    """Revokes all tokens issued until now, effective at once. Later tokens are valid."""
    revoked_at = await _service(request).revoke_tokens(caller.tenant, campaign_id)
    return schemas.RevokedBody(campaign_id=campaign_id, revoked_at=revoked_at)


@router.put(
    f"{_PATH}/landing",
    summary="Set the hosted landing page",
    response_model=schemas.LandingBody,
    responses={201: {"model": schemas.LandingBody, "description": "There was none before"}},
)
async def set_landing(
    request: Request,
    response: Response,
    campaign_id: CampaignId,
    body: schemas.LandingBody,
    caller: Caller = require(ISSUE),
) -> schemas.LandingBody:
    """For customers without a back end. Their tokens have the base URL `<the platform>/t`."""
    try:
        check_address(body.destination_url, plain_http=request.app.state.plain_http, fragment=True)
    except ValueError as error:
        raise Malformed(f"destination_url: {error}", code="malformed_destination_url") from None
    landing = body.landing()
    if not landing.offers:
        raise Malformed("The offer needs at least one language: en or de.", code="malformed_offer")
    response.status_code = 201 if await _service(request).set_landing(caller.tenant, campaign_id, landing) else 200
    return body


@router.get(f"{_PATH}/landing", summary="The hosted landing page's settings")
async def find_landing(
    request: Request, campaign_id: CampaignId, caller: Caller = require(ISSUE, STATS)
) -> schemas.LandingBody:
    return schemas.LandingBody.of(await _service(request).landing(caller.tenant, campaign_id))


@router.delete(f"{_PATH}/landing", summary="Host no landing page any more", status_code=204)
async def remove_landing(request: Request, campaign_id: CampaignId, caller: Caller = require(ISSUE)) -> Response:
    await _service(request).remove_landing(caller.tenant, campaign_id)
    return Response(status_code=204)


def _service(request: Request) -> CampaignService:
    service: CampaignService = request.app.state.campaigns
    return service
