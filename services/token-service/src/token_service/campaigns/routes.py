"""`/v1/campaigns`: parse → one use case → shape."""

from collections.abc import AsyncIterator
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.errors import Malformed
from shared.idempotency import Answer
from shared.identifiers import Identifier
from shared.paging import Cursor, Page
from shared.preconditions import ETAG_HEADER, Condition, document_condition, etag_of
from shared.problems import document_refusals
from shared.reports import ReportRoute, TooManyReports
from shared.spreadsheets import csv_lines
from shared.web.accept import wants_csv
from starlette.responses import StreamingResponse

from token_service.campaigns import schemas
from token_service.campaigns.domain import Bucket
from token_service.campaigns.recipients import Recipient
from token_service.campaigns.service import CampaignService, LandingNotFound
from token_service.landing.destinations import check_destination
from token_service.tokens.domain import CampaignNotFound, TokenState
from token_service.tokens.orders import check_moment
from token_service.tokens.routes import ISSUE, STATS
from token_service.tokens.terms import Rules

router = APIRouter(
    prefix="/v1/campaigns", tags=["campaigns"], dependencies=document_credentials(), route_class=ReportRoute
)

Moment = Annotated[AwareDatetime, AfterValidator(check_moment)]
Service = Annotated[CampaignService, needs(CampaignService)]
CampaignId = Annotated[Identifier, Path(examples=["spring-sale"])]
_PATH = "/{campaign_id:path}"
_UTC: Final = ZoneInfo("UTC")
#: Rows of CSV that are read at once.
_CSV_ROWS: Final = 1000


@router.get("", summary="The campaigns", responses=document_refusals([TooManyReports]))
async def list_campaigns(
    service: Service,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    caller: Caller = require(STATS),
) -> schemas.CampaignsBody:
    """Campaigns with their counts, in the order of their ids."""
    page = await service.campaigns(caller.tenant, reader=caller.client_id, cursor=cursor, limit=limit)
    shown = [schemas.CampaignBody.of(campaign, sums) for campaign, sums in page.items]
    return schemas.CampaignsBody(campaigns=shown, next_cursor=page.next_cursor)


@router.get(
    f"{_PATH}/stats",
    summary="Statistics of a campaign",
    responses={
        200: {"content": {"application/json": {"schema": schemas.STATISTICS_SCHEMA}}},
        **document_refusals([CampaignNotFound, TooManyReports]),
    },
)
async def campaign_stats(
    service: Service,
    campaign_id: CampaignId,
    bucket: Annotated[Bucket, Query(description="Those in which nothing happened are left out.")] = Bucket.DAY,
    tz: Annotated[ZoneInfo, Query(description="Where days begin, such as `Europe/Berlin`, to the hour.")] = _UTC,
    since: Annotated[Moment | None, Query(description="Counts of hours from here on only.")] = None,
    until: Annotated[Moment | None, Query(description="Counts of hours before this only.")] = None,
    caller: Caller = require(STATS),
) -> Response:
    """Issued, opened, verified by kind of caller, distinct, and refused by reason; in total and over time."""
    statistics = await service.statistics(
        caller.tenant, campaign_id, bucket, tz, reader=caller.client_id, since=since, until=until
    )
    body = schemas.statistics_body(
        statistics, await service.refused_without_campaign(caller.tenant, reader=caller.client_id)
    )
    return Answer.of(200, body, Cache_Control="no-store").response()


_CSV: Final = "text/csv"


@router.get(
    f"{_PATH}/tokens",
    summary="The tokens of a campaign",
    response_model=schemas.RecipientsBody,
    responses={
        200: {"content": {_CSV: {"schema": {"type": "string"}}}},
        **document_refusals([CampaignNotFound, TooManyReports]),
    },
)
async def list_campaign_tokens(
    request: Request,
    service: Service,
    campaign_id: CampaignId,
    state: Annotated[TokenState | None, Query(description="Only these; a page may then be short and lead on.")] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    caller: Caller = require(STATS),
) -> Response:
    """In the order of issuing: whose they are and what has become of them, never the tokens themselves.

    With `Accept: text/csv` all of them, without pages.
    """

    async def page(place: str | None, most: int) -> Page[Recipient]:
        return await service.recipients(
            caller.tenant, campaign_id, reader=caller.client_id, state=state, cursor=place, limit=most
        )

    if not wants_csv(request):
        found = await page(cursor, limit)
        tokens = [schemas.RecipientBody.of(recipient) for recipient in found.items]
        body = schemas.RecipientsBody(tokens=tokens, next_cursor=found.next_cursor)
        return Answer.of(200, body.model_dump(mode="json"), Cache_Control="no-store").response()
    first = await page(cursor, _CSV_ROWS)

    async def lines() -> AsyncIterator[str]:
        yield csv_lines([schemas.RECIPIENT_COLUMNS])
        found = first
        while True:
            yield csv_lines(map(schemas.recipient_row, found.items))
            if found.next_cursor is None:
                return
            found = await page(found.next_cursor, _CSV_ROWS)

    return StreamingResponse(lines(), headers={"Cache-Control": "no-store"}, media_type=_CSV)


@router.delete(
    f"{_PATH}/tokens", summary="Revoke all tokens of a campaign", responses=document_refusals([CampaignNotFound])
)
async def revoke_campaign_tokens(
    service: Service, campaign_id: CampaignId, caller: Caller = require(ISSUE)
) -> schemas.RevokedBody:
    """Revokes all tokens issued until now, effective at once. Later tokens are valid."""
    revoked_at = await service.revoke_tokens(caller.tenant, campaign_id, client_id=caller.client_id)
    return schemas.RevokedBody(campaign_id=campaign_id, revoked_at=revoked_at)


@router.put(
    f"{_PATH}/landing",
    summary="Set the hosted landing page",
    response_model=schemas.LandingBody,
    responses=document_condition(200)
    | {201: {"model": schemas.LandingBody, "description": "There was none before", "headers": ETAG_HEADER}}
    | document_refusals([], malformed=["malformed_destination_url", "malformed_offer"]),
)
async def set_landing(
    response: Response,
    service: Service,
    rules: Annotated[Rules, needs(Rules)],
    campaign_id: CampaignId,
    body: schemas.LandingBody,
    condition: Condition,
    caller: Caller = require(ISSUE),
) -> schemas.LandingBody:
    """For customers without a back end. Their tokens have the base URL `<the platform>/t`."""
    try:
        check_destination(body.destination_url, plain_http=rules.plain_http)
    except ValueError as error:
        raise Malformed(f"destination_url: {error}", code="malformed_destination_url") from None
    landing = body.landing()
    if not landing.offers:
        raise Malformed("The offer needs at least one language: en or de.", code="malformed_offer")
    is_new = await service.set_landing(caller.tenant, campaign_id, landing, condition, client_id=caller.client_id)
    response.status_code = 201 if is_new else 200
    response.headers["ETag"] = etag_of(landing)
    return body


@router.get(
    f"{_PATH}/landing",
    summary="The hosted landing page's settings",
    responses={200: {"headers": ETAG_HEADER}, **document_refusals([LandingNotFound])},
)
async def find_landing(
    service: Service, campaign_id: CampaignId, response: Response, caller: Caller = require(ISSUE, STATS)
) -> schemas.LandingBody:
    landing = await service.landing(caller.tenant, campaign_id)
    response.headers["ETag"] = etag_of(landing)
    return schemas.LandingBody.of(landing)


@router.delete(
    f"{_PATH}/landing",
    summary="Host no landing page any more",
    status_code=204,
    responses=document_refusals([LandingNotFound]),
)
async def remove_landing(service: Service, campaign_id: CampaignId, caller: Caller = require(ISSUE)) -> Response:
    await service.remove_landing(caller.tenant, campaign_id, client_id=caller.client_id)
    return Response(status_code=204)
