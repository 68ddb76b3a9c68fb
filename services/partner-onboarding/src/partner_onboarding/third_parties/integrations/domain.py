"""Integration requests and their rules."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import Conflict, Malformed, NotFound
from shared.texts import UnfitText, normal_form

from partner_onboarding.characters import hides_something, shows_something
from partner_onboarding.register.clients.domain import MAX_ENTRIES, THIRD_PARTY_SCOPES, Registration
from partner_onboarding.register.clients.domain import checked as checked_registration
from partner_onboarding.register.users.domain import MalformedUser, normalised_email

State = Literal["submitted", "approved", "declined"]
STATES: tuple[State, ...] = ("submitted", "approved", "declined")
MAX_NAME_CHARACTERS = 100
MAX_TEXT_CHARACTERS = 4000
MAX_REDIRECT_URIS = 10


class MalformedRequest(Malformed):
    """Names the wrong field, for forms and for programs."""

    code = "malformed_integration_request"
    further_codes = ("invalid_url", "malformed_email", "unknown_scope")

    def __init__(self, field: str, message: str, code: str | None = None) -> None:
        super().__init__(message, code=code, errors=[{"field": field, "message": message}])
        self.field = field


class RequestNotFound(NotFound):
    code = "integration_request_not_found"


class CompanyUnknown(Conflict):
    """The request is for a company that is nobody's: there is no tenant whose client it could become."""

    code = "company_unknown"


class AlreadyDecided(Conflict):
    code = "integration_request_decided"


@dataclass(frozen=True, slots=True)
class Particulars:
    """The texts by and about the people who ask, sealed as a whole at rest."""

    name: str
    organisation: str
    goals: str
    contact_name: str
    contact_email: str
    details: str = ""
    #: The language in which the contact reads mails.
    language: str = "en"
    #: What was typed for a company that is nobody's: the request lies with the platform's own operators then.
    company_named: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """The requested integration."""

    particulars: Particulars
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...]

    def registration(self) -> Registration:
        """The registration of the client after an approval."""
        return Registration(
            name=self.particulars.name, kind="third_party", scopes=self.scopes, redirect_uris=self.redirect_uris
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a request."""

    decided_at: datetime
    decided_by: str
    client_id: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class IntegrationRequest:
    """A request to one tenant with the opened texts."""

    tenant: str
    request_id: str
    wish: Wish
    state: State
    submitted_at: datetime
    decision: Decision | None


def checked(wish: Wish, *, plain_http: bool) -> Wish:
    """The checked request; its approval cannot fail for its content.

    Raises:
        MalformedRequest: naming the field.
    """
    given = wish.particulars
    particulars = Particulars(
        name=_line("name", given.name),
        organisation=_line("organisation", given.organisation),
        goals=_text("goals", given.goals, required=True),
        contact_name=_line("contact_name", given.contact_name),
        contact_email=_address(given.contact_email),
        details=_text("details", given.details, required=False),
        language=given.language,
    )
    if not wish.scopes:
        raise MalformedRequest("scopes", "Say which data the integration needs: at least one scope.")
    for scope in wish.scopes:
        if scope not in THIRD_PARTY_SCOPES:
            raise MalformedRequest("scopes", f"A third party cannot have the scope {scope!r}.", "unknown_scope")
    if not 0 < len(wish.redirect_uris) <= min(MAX_REDIRECT_URIS, MAX_ENTRIES):
        raise MalformedRequest("redirect_uris", f"Name 1 to {MAX_REDIRECT_URIS} redirect addresses.")
    try:
        registration = checked_registration(
            Wish(particulars, wish.scopes, wish.redirect_uris).registration(), plain_http=plain_http
        )
    except Malformed as refusal:
        raise MalformedRequest("redirect_uris", refusal.message, refusal.stable_code) from None
    return Wish(particulars, registration.scopes, registration.redirect_uris)


def checked_reason(reason: str) -> str:
    """The checked reason for a refusal, for the people who asked.

    Raises:
        MalformedRequest: there is none, or it is too long.
    """
    return _text("reason", reason, required=True)


def need_undecided(request: IntegrationRequest) -> None:
    """Raises AlreadyDecided with the present state, unless the request is undecided."""
    if request.state != "submitted":
        raise AlreadyDecided(f"This request has been {request.state} already.", state=request.state)


def need_company(request: IntegrationRequest) -> None:
    """Raises CompanyUnknown for a request that lies with the platform's operators."""
    if request.wish.particulars.company_named is not None:
        raise CompanyUnknown("No company of this name is a tenant. Decline the request, or have it made anew.")


def _line(field: str, value: str) -> str:
    refusal = MalformedRequest(field, f"{field} has 1 to {MAX_NAME_CHARACTERS} printable characters.")
    try:
        text = normal_form(value.strip(), at_most=MAX_NAME_CHARACTERS)
    except UnfitText:
        raise refusal from None
    if not shows_something(text) or hides_something(text):
        raise refusal
    return text


def _text(field: str, value: str, *, required: bool) -> str:
    least = 1 if required else 0
    refusal = MalformedRequest(field, f"{field} has {least} to {MAX_TEXT_CHARACTERS} printable characters.")
    try:
        text = normal_form(value.strip().replace("\r\n", "\n"), at_most=MAX_TEXT_CHARACTERS)
    except UnfitText:
        raise refusal from None
    if len(text) < least or hides_something(text, allowed="\t\n"):
        raise refusal
    return text


def _address(value: str) -> str:
    try:
        normalised_email(value)
    except MalformedUser as refusal:
        raise MalformedRequest("contact_email", refusal.message, refusal.stable_code) from None
    return value.strip()
