"""Registering with a partner's code, and linking an account that is there already.

`/registrieren` is the source's address, `/register` the same in English. No page shows whether an e-mail address is
known. Every page names the partner and the person whom the code is for, so that a reader of somebody else's link
notices it.
"""

from math import ceil
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request
from shared.dependencies import needs
from shared.errors import Refusal, TooManyRequests
from shared.web.cookies import SESSION
from shared.web.form_answers import FormRoute
from shared.web.forms import FormExpired, read_form
from shared.web.pages import Pages
from starlette.responses import Response

from partner_onboarding.handshake.handshakes.domain import (
    ExpiredCode,
    ForeignCode,
    Handshake,
    PartnerGone,
    UnknownCode,
    UsedCode,
    landing,
)
from partner_onboarding.handshake.handshakes.service import Handshakes
from partner_onboarding.handshake.links.service import Links
from partner_onboarding.handshake.partners.access import PartnerAccess
from partner_onboarding.handshake.registrations.domain import Documents, applicant_of
from partner_onboarding.handshake.registrations.service import Mistakes, Registered, Registrations
from partner_onboarding.register.pages.session import signed_in_session
from partner_onboarding.register.sessions.domain import SignedIn
from partner_onboarding.register.sessions.service import Sessions
from partner_onboarding.register.tenants.service import Tenants
from partner_onboarding.register.users.service import Users

PATHS: Final = ("/registrieren/", "/registrieren", "/register/", "/register")
_TYPED: Final = ("email", "firstname", "lastname")
_CodeRefusal = (UnknownCode, ForeignCode, UsedCode, ExpiredCode, PartnerGone)
_STATUS: Final[dict[type[Refusal], int]] = {UnknownCode: 400, ForeignCode: 400, UsedCode: 410, ExpiredCode: 410}
_log = structlog.get_logger("partner_onboarding")


class RegistrationPages:
    """The pages, and what they work with."""

    def __init__(
        self,
        pages: Pages,
        sessions: Sessions,
        users: Users,
        tenants: Tenants,
        handshakes: Handshakes,
        links: Links,
        registrations: Registrations,
        access: PartnerAccess,
        documents: Documents,
    ) -> None:
        self._pages = pages
        self._sessions = sessions
        self._users = users
        self._tenants = tenants
        self._handshakes = handshakes
        self._links = links
        self._registrations = registrations
        self._access = access
        self._documents = documents

    async def show(self, request: Request) -> Response:
        """The form, or for somebody who is signed in the question whether to link."""
        self._access.check_open()
        who = await signed_in_session(self._sessions, request)
        try:
            handshake = await self._find(request, who)
        except _CodeRefusal as refusal:
            return await self._refused(request, refusal, who)
        if who is not None:
            return await self._question(request, handshake, who)
        return self._form(request, handshake, {})

    async def take(self, request: Request) -> Response:
        """What was posted: a decision, or the form."""
        self._access.check_open()
        fields = await read_form(request)
        who = await signed_in_session(self._sessions, request)
        decision = fields.get("decision")
        try:
            if decision == "cancel":
                self._pages.form_tokens.check(request, fields)
                return await self._deny(request, who)
            if who is not None:
                handshake = await self._find(request, who)
                self._pages.form_tokens.check(request, fields)
                if decision != "link":
                    say = self._pages.texts(request).say
                    return await self._question(request, handshake, who, 400, {"form": say("error.decision_missing")})
                return await self._link(request, handshake, who.user_id)
            return await self._register(request, fields)
        except _CodeRefusal as refusal:
            return await self._refused(request, refusal, who)
        except FormExpired as refusal:
            # Shown anew, with what was typed and a token that is good.
            say = self._pages.texts(request).say
            handshake = await self._find(request, who)
            errors = {"form": say(f"error.{refusal.stable_code}")}
            if who is not None:
                return await self._question(request, handshake, who, 403, errors)
            return self._form(request, handshake, fields, 403, errors)

    async def _register(self, request: Request, fields: dict[str, str]) -> Response:
        former = self._pages.cookies.read(request, SESSION)
        applicant = applicant_of(fields)
        try:
            handshake = await self._find(request, None)
        except UsedCode:
            self._pages.form_tokens.check(request, fields)
            address = request.app.state.proxies.client_network(request.scope)
            known = await self._registrations.again(_code(request), applicant, address=address, former=former)
            if known is None:
                raise
            return await self._go_on(request, await self._find_for(request, known), known)
        self._pages.form_tokens.check(request, fields)
        try:
            registered = await self._registrations.register(
                _code(request),
                handshake,
                applicant,
                language=self._pages.language(request),
                address=request.app.state.proxies.client_network(request.scope),
                former=former,
            )
        except Mistakes as mistakes:
            say = self._pages.texts(request).say
            errors = {field: say(f"error.{key}") for field, key in mistakes.by_field.items()}
            return self._form(request, handshake, fields, 400, errors)
        except TooManyRequests as refusal:
            return self._too_many(request, handshake, fields, refusal.retry_after_seconds or 1)
        return await self._go_on(request, handshake, registered)

    async def _go_on(self, request: Request, handshake: Handshake, registered: Registered) -> Response:
        """Signed in now. Who is new has said yes by registering; who was known is asked."""
        if not registered.is_signed_in:
            # Known, with a second factor: the code first, and back here for the question.
            response = self._pages.redirect(f"/login/code?{urlencode({'next': _address(request)})}")
        elif registered.is_new or handshake.user_id == registered.user_id:
            response = await self._link(request, handshake, registered.user_id)
        else:
            response = self._pages.redirect(_address(request))
        self._pages.cookies.set(request, response, SESSION, registered.cookie)
        return response

    async def _link(self, request: Request, handshake: Handshake, user_id: str) -> Response:
        """The last step, and the way back to the partner, also where the step fails."""
        try:
            url = await self._handshakes.link(_code(request), handshake.tenant, user_id)
        except _CodeRefusal:
            raise
        # The person is registered and has said yes. The partner has to hear of a failure: it expects the person on its
        # landing page.
        except Exception:
            _log.exception("a person could not be linked", tenant=handshake.tenant, partner=handshake.client_id)
            if handshake.landing_url is None:
                raise
            return _away(landing(handshake.landing_url, error="could_not_connect_athlete_to_partner", user_id=user_id))
        if url is not None:
            return _away(url)
        return self._pages.render(request, "linked.html", partner=handshake.partner_name)

    async def _deny(self, request: Request, who: SignedIn | None) -> Response:
        tenant, user_id = (None, None) if who is None else (who.tenant, who.user_id)
        url = await self._handshakes.deny(_code(request), tenant, user_id)
        return _away(url) if url is not None else self._pages.redirect("/")

    async def _find(self, request: Request, who: SignedIn | None) -> Handshake:
        if who is None:
            return await self._handshakes.find(_code(request))
        return await self._handshakes.find(_code(request), tenant=who.tenant, user_id=who.user_id)

    async def _find_for(self, request: Request, known: Registered) -> Handshake:
        return await self._handshakes.find(_code(request), tenant=known.tenant, user_id=known.user_id)

    async def _question(
        self,
        request: Request,
        handshake: Handshake,
        who: SignedIn,
        status: int = 200,
        errors: dict[str, str] | None = None,
    ) -> Response:
        user = await self._users.get(who.tenant, who.user_id)
        linked = await self._links.partners_of(who.tenant, who.user_id)
        return self._pages.render(
            request,
            "link_question.html",
            status=status,
            leads_away=True,
            here=_address(request),
            action=_address(request),
            handshake=handshake,
            user=user,
            is_linked=any(partner.client_id == handshake.client_id for partner in linked),
            errors=errors or {},
        )

    def _form(
        self,
        request: Request,
        handshake: Handshake,
        fields: dict[str, str],
        status: int = 200,
        errors: dict[str, str] | None = None,
    ) -> Response:
        """The form, with all that was typed but the password."""
        here = _address(request)
        return self._pages.render(
            request,
            "register.html",
            status=status,
            leads_away=True,
            here=here,
            action=here,
            handshake=handshake,
            typed={name: fields.get(name, "")[:254] for name in _TYPED},
            accepts=applicant_of(fields).accepts,
            documents=self._documents.addresses,
            sign_in=f"/login?{urlencode({'next': here})}",
            shows_password="show_password" in request.query_params,
            errors=errors or {},
        )

    def _too_many(self, request: Request, handshake: Handshake, fields: dict[str, str], seconds: int) -> Response:
        texts = self._pages.texts(request)
        text = texts.say("error.too_many_registrations", minutes=texts.count("minutes", ceil(seconds / 60)))
        response = self._form(request, handshake, fields, 429, {"form": text})
        response.headers["Retry-After"] = str(seconds)
        return response

    async def _refused(self, request: Request, refusal: Refusal, who: SignedIn | None) -> Response:
        """A page that says why, and sends nobody anywhere."""
        tenant = await self._tenants.get(who.tenant) if who is not None else None
        context: dict[str, Any] = {"code": refusal.stable_code, "tenant": tenant}
        return self._pages.render(
            request, "code_refused.html", status=_STATUS.get(type(refusal), 410), here=_address(request), **context
        )


router = APIRouter(include_in_schema=False, route_class=FormRoute)

RegistrationPart = Annotated[RegistrationPages, needs(RegistrationPages)]


async def show_registration(registration: RegistrationPart, request: Request) -> Response:
    return await registration.show(request)


async def take_registration(registration: RegistrationPart, request: Request) -> Response:
    return await registration.take(request)


for _path in PATHS:
    router.add_api_route(_path, show_registration, methods=["GET", "HEAD"])
    router.add_api_route(_path, take_registration, methods=["POST"])


def _code(request: Request) -> str:
    return request.query_params.get("registerCode", "")


def _address(request: Request) -> str:
    """Where the form is shown and posted to: the path that was asked for, with nothing but the code."""
    return f"{request.url.path}?{urlencode({'registerCode': _code(request)})}"


def _away(url: str) -> Response:
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(status_code=303, headers=headers)
