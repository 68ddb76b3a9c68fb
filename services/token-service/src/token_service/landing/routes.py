"""`/t/{token}`: GET shows the offer and uses nothing up, since scanners open links; POST uses the token up and leads
on."""

import re
import secrets
from typing import Final
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from shared.dependencies import provided
from shared.web.languages import LANGUAGES
from shared.web.pages import Pages
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from token_service.counting.kinds import is_prefetch, kind_of
from token_service.landing.destinations import parameters_of, token_of
from token_service.landing.service import LandingService
from token_service.landing.tenant_names import TenantNames
from token_service.tokens.verifying import Visit

_PATH: Final = "/t/{token}"
#: Also with a slash at its end, or another one that was taken into the link.
_TAKEN: Final = "/t/{token:path}"
_VISIT: Final = re.compile(r"[0-9a-f]{32}")


def routes() -> list[Route]:
    return [Route(_TAKEN, show_offer, methods=["GET", "HEAD"]), Route(_TAKEN, go_on, methods=["POST"])]


async def show_offer(request: Request) -> Response:
    """The offer and a button. HEAD and prefetches get an answer but do not count."""
    request.state.route = _PATH
    service = provided(request.app, LandingService)
    if (way := _way_to(service.origin, request)) is not None:
        return way
    pages = provided(request.app, Pages)
    text = token_of(request.path_params["token"])
    is_counted = request.method == "GET" and not is_prefetch(_purpose(request))
    landing, token = await service.open(text, _visit(request), is_counted=is_counted)
    languages = [language for language in LANGUAGES if language in landing.offers]
    return pages.render(
        request,
        "offer.html",
        leads_away=True,
        # The address of the page is a secret of its visitor, and no other site's business.
        referrer_policy="no-referrer",
        among=languages,
        offer=landing.offers[pages.language(request, languages)],
        action=_action(text, request),
        expires_at=token.content.expires_at,
        destination=urlsplit(landing.destination_url).hostname,
        tenant=await provided(request.app, TenantNames).of(token.id.tenant),
        visit=secrets.token_hex(16),
    )


async def go_on(request: Request) -> Response:
    """Uses the token up and leads to the campaign's site."""
    request.state.route = _PATH
    service = provided(request.app, LandingService)
    if (way := _way_to(service.origin, request)) is not None:
        return way
    visit_id = _visit_id(await request.body())
    text = token_of(request.path_params["token"])
    return (await service.go(text, _visit(request), visit_id, request.url.query)).response()


def _way_to(origin: str | None, request: Request) -> Response | None:
    """To the host of landing pages, for links that name another one; None on that host, or where there is none."""
    if origin is None or request.headers.get("host") == urlsplit(origin).netloc:
        return None
    query = f"?{request.url.query}" if request.url.query else ""
    address = f"{origin}/t/{quote(request.path_params['token'], safe='')}{query}"
    return Response(
        status_code=308, headers={"Location": address, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )


def _action(text: str, request: Request) -> str:
    """Where the button leads, with those parameters that go on to the destination."""
    parameters = parameters_of(request.url.query)
    return f"/t/{text}" + (f"?{urlencode(parameters)}" if parameters else "")


def _visit(request: Request) -> Visit:
    address = request.app.state.proxies.client_address(request.scope)
    kind = kind_of((request.headers.get("user-agent") or "")[:1024], request.method, _purpose(request))
    return Visit(kind, visitor=address, caller=address)


def _purpose(request: Request) -> str | None:
    headers = request.headers
    return headers.get("sec-purpose") or headers.get("purpose") or headers.get("x-moz") or headers.get("x-purpose")


def _visit_id(body: bytes) -> str | None:
    """The id of the shown page. A post without it is valid too, but not repeatable."""
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=20).get("visit", [""])[0]
    except ValueError:
        return None
    return found if _VISIT.fullmatch(found) else None
