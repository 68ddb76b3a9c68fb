"""The operators' pages about integration requests and the audit."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from shared.db import Database
from starlette.responses import Response

from partner_onboarding.pages.forms import read_form
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.audit.service import Audit
from partner_onboarding.register.pages.access import signed_in_as
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.third_parties.integrations.domain import STATES, AlreadyDecided, MalformedRequest
from partner_onboarding.third_parties.integrations.schemas import RequestId
from partner_onboarding.third_parties.integrations.service import Integrations

_RequestId = Annotated[RequestId, Path()]
_PAGE: Final = 50
_MAX_ENTRY_DIGITS: Final = 18
_REFERENCE = re.compile(r"[0-9a-f]{16}", re.ASCII)


def operation_routes(
    pages: Pages, sessions: Sessions, integrations: Integrations, audit: Audit, database: Database
) -> APIRouter:
    """/operations, /operations/requests/… and /operations/audit."""
    routes = APIRouter(prefix="/operations", include_in_schema=False)
    operator = Annotated[SignedIn, signed_in_as(sessions, "operator")]

    @routes.api_route("", methods=["GET", "HEAD"])
    async def list_requests(request: Request, who: operator) -> Response:
        wanted = request.query_params.get("state", "submitted")
        state = next((one for one in STATES if one == wanted), None)
        after = request.query_params.get("after", "")
        known = after if _REFERENCE.fullmatch(after) else None
        found = await integrations.newest(who.tenant, state=state, after=known, limit=_PAGE + 1)
        return pages.render(
            request,
            "operations.html",
            requests=found[:_PAGE],
            state=state,
            states=STATES,
            counts=await integrations.count_by_state(who.tenant),
            next_after=found[_PAGE - 1].request_id if len(found) > _PAGE else None,
        )

    @routes.api_route("/requests/{request_id}", methods=["GET", "HEAD"])
    async def one_request(request: Request, who: operator, request_id: _RequestId) -> Response:
        return await _request_page(request, who, request_id)

    @routes.post("/requests/{request_id}/approve")
    async def approve(request: Request, who: operator, request_id: _RequestId) -> Response:
        pages.form_tokens.check(request, await read_form(request))
        try:
            async with database.transaction() as connection:
                approved = await integrations.approve(connection, who.tenant, request_id, by=_actor(who))
        except AlreadyDecided:
            # The form came twice, or a colleague was faster; the first answer showed the secret.
            return await _request_page(request, who, request_id, status=409)
        # Shown in the answer itself, since for a redirect the secret would have to be stored.
        return pages.render(
            request,
            "handover.html",
            here=f"/operations/requests/{request_id}",
            name=approved.request.wish.particulars.name,
            values={
                "client_id": approved.client_id,
                "client_secret": approved.client_secret,
                "tenant_authority_url": approved.tenant_authority_url,
                "cloud_api_url": approved.cloud_api_url,
            },
            back=f"/operations/clients/{approved.client_id}",
        )

    @routes.post("/requests/{request_id}/decline")
    async def decline(request: Request, who: operator, request_id: _RequestId) -> Response:
        form = await read_form(request)
        pages.form_tokens.check(request, form)
        reason = form.get("reason", "")
        try:
            async with database.transaction() as connection:
                await integrations.decline(connection, who.tenant, request_id, reason, by=_actor(who))
        except AlreadyDecided:
            return await _request_page(request, who, request_id, status=409)
        except MalformedRequest:
            errors = {"reason": pages.texts(request).say("wrong.reason")}
            return await _request_page(request, who, request_id, status=400, errors=errors, reason=reason)
        return pages.redirect(f"/operations/requests/{request_id}?done=declined")

    @routes.api_route("/audit", methods=["GET", "HEAD"])
    async def audit_page(request: Request, who: operator) -> Response:
        before = request.query_params.get("before", "")
        number = int(before) if before.isascii() and before.isdecimal() and len(before) <= _MAX_ENTRY_DIGITS else None
        found = await audit.newest(who.tenant, before=number, limit=_PAGE + 1)
        return pages.render(
            request,
            "audit.html",
            entries=found[:_PAGE],
            next_before=found[_PAGE - 1].entry_id if len(found) > _PAGE else None,
        )

    async def _request_page(
        request: Request, who: SignedIn, request_id: str, *, status: int = 200, **context: Any
    ) -> Response:
        return pages.render(
            request,
            "operations_request.html",
            status=status,
            here=f"/operations/requests/{request_id}",
            asked=await integrations.get(who.tenant, request_id),
            done=request.query_params.get("done", ""),
            is_decided_already=status == 409,
            **{"errors": {}, "reason": ""} | context,
        )

    return routes


def _actor(who: SignedIn) -> Actor:
    return Actor("operator", who.user_id)
