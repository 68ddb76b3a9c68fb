"""The public page on which a third party asks for an integration."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fastapi import APIRouter, Request
from shared.db import Database
from shared.errors import NotFound, TooManyRequests
from shared.rate_limits import RateLimit
from starlette.responses import Response

from partner_onboarding.pages.forms import FormExpired, read_fields
from partner_onboarding.pages.rendering import Pages
from partner_onboarding.register.audit.domain import APPLICANT
from partner_onboarding.register.clients.domain import THIRD_PARTY_SCOPES
from partner_onboarding.third_parties.integrations.domain import MalformedRequest, Particulars, Wish
from partner_onboarding.third_parties.integrations.service import Integrations

_REQUIRED: Final = ("tenant", "name", "organisation", "goals", "redirect_uris", "contact_name", "contact_email")
_REFERENCE = re.compile(r"[0-9a-f]{16}", re.ASCII)
#: In the order of the page, so that the summary leads through the form from its top.
_ORDER: Final = (
    *("tenant", "name", "organisation", "goals", "scopes", "redirect_uris", "details"),
    *("contact_name", "contact_email"),
)


def applying_routes(pages: Pages, integrations: Integrations, limit: RateLimit, database: Database) -> APIRouter:
    """/integrations/apply and the thank-you after it."""
    routes = APIRouter(prefix="/integrations", include_in_schema=False)

    @routes.api_route("", methods=["GET", "HEAD"])
    async def entrance() -> Response:
        return pages.redirect("/integrations/apply")

    @routes.api_route("/apply", methods=["GET", "HEAD"])
    async def form_page(request: Request) -> Response:
        return _page(request, {}, ())

    @routes.post("/apply")
    async def apply(request: Request) -> Response:
        fields = await read_fields(request)
        form = dict(reversed(fields))
        scopes = tuple(value for name, value in fields if name == "scopes")
        say = pages.texts(request).say
        missing = {name for name in _REQUIRED if not form.get(name, "").strip()} | (set() if scopes else {"scopes"})
        if missing:
            return _page(request, form, scopes, 400, missing)
        try:
            pages.form_tokens.check(request, form)
            await limit.count(request.app.state.proxies.client_network(request.scope) or "unknown")
            tenant = await integrations.tenant_named(form["tenant"])
            async with database.transaction() as connection:
                receipt = await integrations.submit(connection, tenant, _wish(form, scopes), by=APPLICANT)
        except FormExpired:
            return _page(request, form, scopes, 403, trouble=say("error.form_expired"))
        except MalformedRequest as refusal:
            return _page(request, form, scopes, 400, {refusal.field})
        except TooManyRequests as refusal:
            response = _page(request, form, scopes, 429, trouble=say("page.unavailable"))
            response.headers["Retry-After"] = str(refusal.retry_after_seconds or 1)
            return response
        return pages.redirect(f"/integrations/thanks?reference={receipt.request_id}")

    @routes.api_route("/thanks", methods=["GET", "HEAD"])
    async def thanks(request: Request) -> Response:
        reference = request.query_params.get("reference", "")
        if not _REFERENCE.fullmatch(reference):
            raise NotFound("There is nothing at this address.")
        return pages.render(request, "applied.html", reference=reference)

    def _page(
        request: Request,
        form: Mapping[str, str],
        scopes: Sequence[str],
        status: int = 200,
        wrong: set[str] | None = None,
        trouble: str | None = None,
    ) -> Response:
        texts = pages.texts(request)
        errors = {name: texts.say(f"wrong.{name}") for name in _ORDER if name in (wrong or ())}
        return pages.render(
            request,
            "apply.html",
            status=status,
            here="/integrations/apply",
            form={name: form.get(name, "") for name in _ORDER},
            scopes=THIRD_PARTY_SCOPES,
            ticked=scopes,
            errors=errors | ({"form": trouble} if trouble else {}),
        )

    return routes


def _wish(form: Mapping[str, str], scopes: tuple[str, ...]) -> Wish:
    return Wish(
        Particulars(
            name=form["name"],
            organisation=form["organisation"],
            goals=form["goals"],
            contact_name=form["contact_name"],
            contact_email=form["contact_email"],
            details=form.get("details", ""),
        ),
        scopes,
        tuple(form["redirect_uris"].split()),
    )
