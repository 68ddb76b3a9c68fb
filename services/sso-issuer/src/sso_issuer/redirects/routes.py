"""Redirects for a back end, and the audit of all of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from shared.callers import Caller, document_credentials, require
from shared.dependencies import needs
from shared.idempotency import Answer, IdempotencyKey

from sso_issuer.admins import Admin
from sso_issuer.redirects.domain import Asker, Redirect
from sso_issuer.redirects.schemas import IssuanceBody, IssuancesBody, IssuancesQuery, RedirectBody, RedirectOrderBody
from sso_issuer.redirects.service import Redirects

router = APIRouter(prefix="/sso/v1", tags=["redirects"], dependencies=document_credentials())

RedirectService = Annotated[Redirects, needs(Redirects)]

#: Keeps an answer with a token out of caches and of `Referer`.
PRIVATE = {"Cache_Control": "no-store", "Referrer_Policy": "no-referrer"}


@router.post("/redirects", summary="Have a user sent to a vendor", status_code=201, response_model=RedirectBody)
async def issue_redirect(
    body: RedirectOrderBody,
    request: Request,
    redirects: RedirectService,
    caller: Annotated[Caller, require("sso:issue")],
    key: IdempotencyKey,
) -> Response:
    asker = Asker(tenant=caller.tenant, client_id=caller.client_id, request_id=request.state.request_id)
    answer = await redirects.issue_once(
        asker, body.user_id, body.vendor_id, key=key, key_owner=caller.client_id, shape=answer_of
    )
    return answer.response()


@router.get("/issuances", summary="What was issued, newest first")
async def list_issuances(
    redirects: RedirectService,
    caller: Admin,
    asked: Annotated[IssuancesQuery, Query()],
) -> IssuancesBody:
    page = await redirects.list_newest(
        caller.tenant, user_id=asked.user_id, vendor_id=asked.vendor_id, cursor=asked.cursor, limit=asked.limit
    )
    return IssuancesBody(issuances=[IssuanceBody.of(issuance) for issuance in page.items], next_cursor=page.next_cursor)


def answer_of(redirect: Redirect) -> Answer:
    """A redirect as a JSON answer, for back ends and front ends."""
    return Answer.of(201, RedirectBody.of(redirect).model_dump(mode="json"), **PRIVATE)
