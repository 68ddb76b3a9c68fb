"""The public page on which a third party asks for an integration."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import NotFound, TooManyRequests
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_fields
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.register.clients.domain import THIRD_PARTY_SCOPES
from partner_onboarding.third_parties.integrations.applications import Applications
from partner_onboarding.third_parties.integrations.domain import MalformedRequest, Particulars, Wish

_REQUIRED: Final = ("tenant", "name", "organisation", "goals", "redirect_uris", "contact_name", "contact_email")
#: Several fields take 4,000 characters, of which one may need twelve bytes.
_MAX_BYTES: Final = 131_072
_REFERENCE = re.compile(r"[0-9a-f]{16}", re.ASCII)
#: In the order of the page, so that the summary leads through the form from its top.
_ORDER: Final = (
    *("tenant", "name", "organisation", "goals", "scopes", "redirect_uris", "details"),
    *("contact_name", "contact_email"),
)


PagesPart = Annotated[Pages, needs(Pages)]
ApplicationService = Annotated[Applications, needs(Applications)]
router = APIRouter(prefix="/integrations", include_in_schema=False, route_class=FormRoute)


@router.api_route("", methods=["GET", "HEAD"])
async def entrance(
    pages: PagesPart,
) -> Response:
    return pages.redirect("/integrations/apply")


@router.api_route("/apply", methods=["GET", "HEAD"])
async def form_page(pages: PagesPart, request: Request) -> Response:
    return _page(pages, request, {}, ())


@router.post("/apply")
async def apply(pages: PagesPart, applications: ApplicationService, request: Request) -> Response:
    fields = await read_fields(request, max_bytes=_MAX_BYTES)
    form = dict(reversed(fields))
    scopes = tuple(value for name, value in fields if name == "scopes")
    say = pages.texts(request).say
    missing = {name for name in _REQUIRED if not form.get(name, "").strip()} | (set() if scopes else {"scopes"})
    if missing:
        return _page(pages, request, form, scopes, 400, missing)
    try:
        pages.form_tokens.check(request, form)
        network = request.app.state.proxies.client_network(request.scope)
        receipt = await applications.submit_by_form(
            form["tenant"], _wish(form, scopes, pages.language(request)), network=network
        )
    except FormExpired as refusal:
        return _page(pages, request, form, scopes, 403, trouble=say(f"error.{refusal.stable_code}"))
    except MalformedRequest as refusal:
        return _page(pages, request, form, scopes, 400, {refusal.field})
    except TooManyRequests as refusal:
        response = _page(pages, request, form, scopes, 429, trouble=say("refused.too_many"))
        response.headers["Retry-After"] = str(refusal.retry_after_seconds or 1)
        return response
    return pages.redirect(f"/integrations/thanks?reference={receipt.request_id}")


@router.api_route("/thanks", methods=["GET", "HEAD"])
async def thanks(pages: PagesPart, request: Request) -> Response:
    reference = request.query_params.get("reference", "")
    if not _REFERENCE.fullmatch(reference):
        raise NotFound("There is nothing at this address.")
    return pages.render(request, "applied.html", reference=reference)


def _page(
    pages: Pages,
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


def _wish(form: Mapping[str, str], scopes: tuple[str, ...], language: str) -> Wish:
    return Wish(
        Particulars(
            name=form["name"],
            organisation=form["organisation"],
            goals=form["goals"],
            contact_name=form["contact_name"],
            contact_email=form["contact_email"],
            details=form.get("details", ""),
            language=language,
        ),
        scopes,
        tuple(form["redirect_uris"].split()),
    )
