"""Redirects for a back end, and the audit of all of them."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from shared.callers import document_credentials, require_service
from shared.dependencies import needs
from shared.hot_routes import Answered, HotCall, HotOperation, HotRoute
from shared.idempotency import Answer
from shared.identifiers import Identifier, Tenant
from shared.paging import Cursor
from shared.paths import IDENTIFIER

from sso_issuer.admins import REFUSALS, Admin
from sso_issuer.redirects.domain import Asker, EmailUnconfirmed, Redirect, UserNotFound
from sso_issuer.redirects.schemas import (
    REDIRECT_EXAMPLE,
    IssuanceBody,
    IssuancesBody,
    IssuancesQuery,
    RedirectBody,
    RedirectOrderBody,
    redirect_body,
)
from sso_issuer.redirects.service import Redirects
from sso_issuer.vendors.domain import VendorNotFound, VendorWithoutSecret

router = APIRouter(prefix="/sso/v1", tags=["redirects"], dependencies=document_credentials())
internal_router = APIRouter(prefix="/internal", include_in_schema=False)

RedirectService = Annotated[Redirects, needs(Redirects)]

#: Keeps an answer with a token out of caches and of `Referer`.
PRIVATE = {"Cache_Control": "no-store", "Referrer_Policy": "no-referrer"}


async def _issue(call: HotCall[RedirectOrderBody]) -> Answer:
    caller = call.caller
    asker = Asker(tenant=caller.tenant, client_id=caller.client_id, request_id=call.scope["state"]["request_id"])
    return await call.part(Redirects).issue_once(
        asker, call.body.user_id, call.body.vendor_id, key=call.key, key_owner=caller.client_id, shape=answer_of
    )


ISSUE_REDIRECT: Final = HotRoute(
    method="POST",
    path="/sso/v1/redirects",
    name="issue_redirect",
    tag="redirects",
    summary="Have a user sent to a vendor",
    scopes=("sso:issue",),
    operations=HotOperation(
        _issue,
        body=RedirectOrderBody,
        answers={201: Answered("Issued", RedirectBody)},
        refusals=(VendorNotFound, UserNotFound, EmailUnconfirmed, VendorWithoutSecret),
        example=REDIRECT_EXAMPLE,
    ),
)


@router.get("/issuances", summary="What was issued, newest first", responses=REFUSALS)
async def list_issuances(
    redirects: RedirectService,
    caller: Admin,
    asked: Annotated[IssuancesQuery, Query()],
) -> IssuancesBody:
    page = await redirects.list_newest(
        caller.tenant, user_id=asked.user_id, vendor_id=asked.vendor_id, cursor=asked.cursor, limit=asked.limit
    )
    return IssuancesBody(issuances=[IssuanceBody.of(issuance) for issuance in page.items], next_cursor=page.next_cursor)


@internal_router.get(f"/tenants/{{tenant}}/users/{{user_id:{IDENTIFIER}}}/issuances")
async def issuances_of_user(
    tenant: Annotated[Tenant, Path()],
    user_id: Annotated[Identifier, Path()],
    redirects: RedirectService,
    _service: Annotated[str, require_service("partner-onboarding")],
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 500,
) -> IssuancesBody:
    """For the person's copy of the own data."""
    page = await redirects.list_newest(tenant, user_id=user_id, vendor_id=None, cursor=cursor, limit=limit)
    return IssuancesBody(issuances=[IssuanceBody.of(issuance) for issuance in page.items], next_cursor=page.next_cursor)


def answer_of(redirect: Redirect) -> Answer:
    """A redirect as a JSON answer, for back ends and front ends."""
    return Answer.of(201, redirect_body(redirect), **PRIVATE)
