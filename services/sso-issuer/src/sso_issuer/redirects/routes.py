"""Redirects for a back end, and the audit of all of them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from shared.callers import Caller, document_credentials, require
from shared.idempotency import Answer, IdempotencyKey
from shared.identifiers import Identifier

from sso_issuer.cursors import cursor_behind, place_of
from sso_issuer.redirects.domain import Asker, Redirect
from sso_issuer.redirects.schemas import IssuanceOut, IssuancePage, RedirectIn, RedirectOut
from sso_issuer.redirects.service import Redirects

router = APIRouter(prefix="/sso/v1", tags=["redirects"], dependencies=document_credentials())

#: An answer that carries a token stays in no cache and in no `Referer`.
PRIVATE = {"Cache_Control": "no-store", "Referrer_Policy": "no-referrer"}


@router.post("/redirects", summary="Have a user sent to a vendor", status_code=201, response_model=RedirectOut)
async def issue_redirect(
    body: RedirectIn, request: Request, caller: Annotated[Caller, require("sso:issue")], key: IdempotencyKey
) -> Response:
    redirects: Redirects = request.app.state.redirects
    asker = Asker(tenant=caller.tenant, client_id=caller.client_id, request_id=request.state.request_id)
    answer = await redirects.issue_once(
        asker, body.user_id, body.vendor_id, key=key, key_owner=caller.client_id, shape=answer_of
    )
    return answer.response()


@router.get("/issuances", summary="What was issued, newest first")
async def list_issuances(
    request: Request,
    caller: Annotated[Caller, require("sso:admin")],
    user_id: Annotated[Identifier | None, Query()] = None,
    vendor_id: Annotated[Identifier | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> IssuancePage:
    redirects: Redirects = request.app.state.redirects
    found = await redirects.list_newest(
        caller.tenant,
        user_id=user_id,
        vendor_id=vendor_id,
        before=None if cursor is None else place_of(cursor),
        limit=limit + 1,
    )
    page = found[:limit]
    return IssuancePage(
        issuances=[IssuanceOut.of(issuance) for issuance in page],
        next_cursor=cursor_behind(page[-1].issued_at, page[-1].jti) if len(found) > limit else None,
    )


def answer_of(redirect: Redirect) -> Answer:
    """A redirect as a JSON answer, for a back end and for a front end alike."""
    return Answer.of(201, RedirectOut.of(redirect).model_dump(mode="json"), **PRIVATE)
