"""Redirects for a signed-in user's browser: a form's button, or a front end that asks for JSON."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from shared.dependencies import needs, provided
from shared.errors import Refusal, Unauthenticated
from shared.hot_routes import header_of
from shared.idempotency import IdempotencyKey
from shared.identifiers import Identifier, is_identifier
from shared.paths import IDENTIFIER
from shared.problems import document_refusals, problem_response
from shared.shortcuts import Shortcut
from shared.web.accept import wants_json, wants_page
from shared.web.addresses import origin_of
from shared.web.cookies import SESSION
from shared.web.cross_site import OPAQUE, CrossSiteRequest, foreign_origin_of
from shared.web.form_answers import FormAnswers, FormRoute
from shared.web.pages import Pages
from shared.web.refusals import page_or_problem
from shared.web.visitors import Visitor, welcome
from starlette.types import Scope

from sso_issuer.onboarding_client import OnboardingClient, Session
from sso_issuer.redirects.domain import Asker, EmailUnconfirmed, UserNotFound
from sso_issuer.redirects.pages import RedirectPages
from sso_issuer.redirects.routes import answer_of
from sso_issuer.redirects.schemas import RedirectBody
from sso_issuer.redirects.service import Redirects
from sso_issuer.vendors.domain import Delivery, VendorNotFound, VendorWithoutSecret
from sso_issuer.vendors.service import Vendors

router = APIRouter(prefix="/sso/v1/redeem", tags=["redirects"], route_class=FormRoute)

VendorId = Annotated[Identifier, Path()]
Onboarding = Annotated[OnboardingClient, needs(OnboardingClient)]
PagesPart = Annotated[RedirectPages, needs(RedirectPages)]

_SESSION = re.compile(r"[\x21-\x7e]{1,512}")
_ALLOWED_METHODS: Final = "GET, POST, OPTIONS"
_ALLOWED_HEADERS: Final = "Accept, Content-Type, Idempotency-Key, X-Request-Id, traceparent"
_EXPOSED_HEADERS: Final = "Idempotency-Replayed, Retry-After, X-Request-Id"
#: How long (seconds) a browser may cache the answer to a preflight.
_PREFLIGHT_REMEMBERED: Final = "600"


class NotSignedIn(Unauthenticated):
    code = "not_signed_in"

    def __init__(self) -> None:
        super().__init__("Nobody is signed in, or the session has ended.")


@router.post(
    f"/{{vendor_id:{IDENTIFIER}}}",
    summary="Send the signed-in user to a vendor",
    response_model=RedirectBody,
    status_code=201,
    responses={
        200: {"description": "A page that posts the token to the vendor", "content": {"text/html": {}}},
        303: {"description": "To the vendor, or to the sign-in page"},
        **document_refusals(
            [NotSignedIn, CrossSiteRequest, VendorNotFound, UserNotFound, EmailUnconfirmed, VendorWithoutSecret]
        ),
    },
)
async def redeem(
    vendor_id: VendorId,
    request: Request,
    onboarding: Onboarding,
    redirects: Annotated[Redirects, needs(Redirects)],
    pages: PagesPart,
    key: IdempotencyKey,
) -> Response:
    async def send(session: Session) -> Response:
        asker = Asker(tenant=session.tenant, client_id=None, request_id=request.state.request_id)
        if wants_json(request):
            # No client id contains a colon, where Basic ends it: idempotency keys of users and clients never collide.
            owner = f"user:{session.user_id}"
            answer = await redirects.issue_once(
                asker, session.user_id, vendor_id, key=key, key_owner=owner, shape=answer_of
            )
            return answer.response()
        redirect = await redirects.issue(asker, session.user_id, vendor_id)
        if redirect.delivery is Delivery.QUERY:
            # Not RedirectResponse, which would rewrite the vendor's own query.
            return Response(status_code=303, headers={"Location": redirect.url})
        return pages.post(request, redirect)

    return await _with_session(request, onboarding, vendor_id, send)


async def _redeem_at_once(request: Request) -> Response:
    app = request.app

    async def carry_out(request: Request) -> Response:
        parts = provided(app, OnboardingClient), provided(app, Redirects), provided(app, RedirectPages)
        return await redeem(request.path_params["vendor_id"], request, *parts, None)

    return await provided(app, FormAnswers).once(request, carry_out)


def _is_usual(scope: Scope) -> bool:
    return is_identifier(scope["path_params"]["vendor_id"]) and header_of(scope, b"idempotency-key") is None


SHORTCUTS: Final = (Shortcut("POST", "/sso/v1/redeem/{vendor_id}", _redeem_at_once, fits=_is_usual),)


@router.get(f"/{{vendor_id:{IDENTIFIER}}}", summary="Ask the signed-in user whether to go on", include_in_schema=False)
async def ask_to_redeem(
    vendor_id: VendorId,
    request: Request,
    onboarding: Onboarding,
    vendors: Annotated[Vendors, needs(Vendors)],
    pages: PagesPart,
) -> Response:
    """The page that sign-in leads back to. A GET changes nothing, since mail scanners open every link."""

    async def ask(session: Session) -> Response:
        vendor = await vendors.find(session.tenant, vendor_id)
        return pages.ask(request, vendor_id, vendor.agreement.name)

    return await _with_session(request, onboarding, vendor_id, ask)


@router.options(f"/{{vendor_id:{IDENTIFIER}}}", include_in_schema=False)
async def preflight(vendor_id: VendorId, request: Request, onboarding: Onboarding) -> Response:
    """A browser asks for its front end. It sends no cookie along, so any tenant's origin is let in here; the
    request itself is held to the origins of the user's own tenant."""
    origin = foreign_origin_of(request)
    headers = {"Allow": _ALLOWED_METHODS, "Vary": "Origin"}
    if origin is not None:
        if origin == OPAQUE or not await onboarding.is_origin_allowed(origin):
            raise CrossSiteRequest
        headers |= _cors_headers(request) | {
            "Access-Control-Allow-Methods": _ALLOWED_METHODS,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": _PREFLIGHT_REMEMBERED,
        }
    return Response(status_code=204, headers=headers)


async def _with_session(
    request: Request, onboarding: OnboardingClient, vendor_id: str, use: Callable[[Session], Awaitable[Response]]
) -> Response:
    """Answers a signed-in user of our own pages or of the tenant's front ends; refuses all others."""
    cors: dict[str, str] = {}
    try:
        session, is_foreign = await _admit(request, onboarding)
        if is_foreign:
            cors = _cors_headers(request)
        if session is not None:
            response = await use(session)
        elif wants_json(request):
            response = _refused(request, NotSignedIn())
        else:
            response = _to_sign_in(request, vendor_id)
    except Refusal as refusal:
        # Refusals are answered here with CORS headers, so that a front end can read them.
        request.state.log = {"refusal": refusal.stable_code, "why": refusal.log}
        response = _refused(request, refusal)
    # The page that asks sets its own policy and contains no token.
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Accept-Language, Cookie, Origin"
    response.headers.update(cors)
    return response


async def _admit(request: Request, onboarding: OnboardingClient) -> tuple[Session | None, bool]:
    """The session of a request, and the foreign origin if it comes from an allowed one.

    Raises:
        CrossSiteRequest: another site caused it, and it is no front end of the user's tenant.
    """
    origin = foreign_origin_of(request) if request.method == "POST" else None
    if origin == OPAQUE:
        raise CrossSiteRequest
    cookie = provided(request.app, Pages).cookies.read(request, SESSION) or ""
    session = await onboarding.find_session(cookie) if _SESSION.fullmatch(cookie) else None
    if session is not None:
        welcome(request, Visitor(session.tenant, session.roles, session.tenant_name))
    if origin is not None:
        if session is None:
            # Only so that a front end can read `not signed in`.
            is_allowed = await onboarding.is_origin_allowed(origin)
        else:
            is_allowed = origin in {origin_of(allowed) for allowed in session.allowed_origins}
        if not is_allowed:
            raise CrossSiteRequest
    return session, origin is not None


def _cors_headers(request: Request) -> dict[str, str]:
    origin = request.headers.get("origin")
    if origin is None:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
    }


def _to_sign_in(request: Request, vendor_id: str) -> Response:
    back = f"/sso/v1/redeem/{quote(vendor_id, safe='')}"
    # A path only, so that a browser stays on https.
    return Response(status_code=303, headers={"Location": f"/login?next={quote(back, safe='')}"})


def render_refusal(refusal: Refusal, request: Request) -> Response:
    """A page for a person on these paths, otherwise a problem body."""
    if request.scope["path"].startswith(f"{router.prefix}/"):
        return _refused(request, refusal)
    return problem_response(refusal, request)


def _refused(request: Request, refusal: Refusal) -> Response:
    if isinstance(refusal, EmailUnconfirmed) and wants_page(request):
        return provided(request.app, RedirectPages).unconfirmed(request, refusal)
    pages = provided(request.app, Pages)
    response = page_or_problem(pages, refusal, request)
    if isinstance(refusal, Unauthenticated):
        # The usual challenge names Basic, for which browsers would open a password dialog.
        response.headers["WWW-Authenticate"] = (
            f'Cookie realm="points platform", cookie-name="{pages.cookies.name(request, SESSION)}"'
        )
    return response
