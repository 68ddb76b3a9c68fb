"""What this service asks partner-onboarding: who a session or a user is, and which front ends are a tenant's."""

from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.identifiers import Tenant

from sso_issuer.redirects.domain import Profile, UserNotFound


class Session(BaseModel):
    """Who is signed in."""

    tenant: Tenant
    user_id: str
    allowed_origins: frozenset[str]


class _Profile(BaseModel):
    user_id: str
    firstname: str
    lastname: str
    email: str


class _OriginAnswer(BaseModel):
    allowed: bool


class _Problem(BaseModel):
    code: str


M = TypeVar("M", bound=BaseModel)


class OnboardingClient:
    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def find_session(self, session: str) -> Session | None:
        """The user whose browser session this is; None when it is unknown or has ended.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        answer = await self._service.ask("/internal/sessions/check", {"session": session})
        return None if is_missing(answer, "no_session") else read_answer(Session, answer)

    async def profile(self, tenant: str, user_id: str) -> Profile:
        """The user's name and e-mail address.

        Raises:
            UserNotFound: the tenant has no such user.
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        if "/" in user_id or user_id in {".", ".."}:
            # No address of the directory can name such a user, so that there is none.
            raise UserNotFound
        answer = await self._service.get(f"/internal/tenants/{tenant}/users/{quote(user_id, safe='')}")
        if is_missing(answer, "user_not_found"):
            raise UserNotFound
        found = read_answer(_Profile, answer)
        if found.user_id != user_id:
            raise Unavailable(log="partner-onboarding: answered for another user")
        return Profile(user_id=user_id, firstname=found.firstname, lastname=found.lastname, email=found.email)

    async def is_origin_allowed(self, origin: str) -> bool:
        """Whether any tenant has configured this origin for its front end.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return read_answer(_OriginAnswer, await self._service.get("/internal/origins", {"origin": origin})).allowed

    async def aclose(self) -> None:
        await self._service.aclose()


def is_missing(answer: httpx.Response, code: str) -> bool:
    """A 404 of the service's own; one of a proxy or of a missing route must not read as `there is none`."""
    return answer.status_code == httpx.codes.NOT_FOUND and read_answer(_Problem, answer).code == code


def read_answer(model: type[M], answer: httpx.Response) -> M:
    """The body of a 200 or 404.

    Raises:
        Unavailable: another status, or a body that makes no sense.
    """
    try:
        if answer.status_code not in {httpx.codes.OK, httpx.codes.NOT_FOUND}:
            raise ValueError(f"status {answer.status_code}")
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        # The names of the fields only: their values are somebody's data.
        fields = [".".join(map(str, detail["loc"])) for detail in error.errors()]
        raise Unavailable(log=f"partner-onboarding: cannot read {model.__name__} {fields}") from None
    except ValueError as error:
        raise Unavailable(log=f"partner-onboarding: {error}") from None
