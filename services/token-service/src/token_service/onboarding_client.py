"""What this service asks partner-onboarding beside clients: who a browser's session belongs to."""

from typing import Final

import httpx
from pydantic import BaseModel, ValidationError
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.identifiers import Tenant

TENANT_ADMIN: Final = "tenant_admin"


class Session(BaseModel):
    """Who is signed in."""

    tenant: Tenant
    user_id: str
    roles: frozenset[str]


class _Problem(BaseModel):
    code: str


class OnboardingClient:
    """The fields that are read here, and no more."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def find_session(self, session: str) -> Session | None:
        """The user whose browser session this is; None when it is unknown or has ended.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        answer = await self._service.ask("/internal/sessions/check", {"session": session})
        try:
            # A 404 of the service's own; one of a missing route must not read as `nobody is signed in`.
            if answer.status_code == httpx.codes.NOT_FOUND:
                if _Problem.model_validate_json(answer.content).code == "no_session":
                    return None
            elif answer.status_code == httpx.codes.OK:
                return Session.model_validate_json(answer.content)
        except ValidationError as error:
            fields = [".".join(map(str, detail["loc"])) for detail in error.errors()]
            raise Unavailable(log=f"partner-onboarding: cannot read a session {fields}") from None
        raise Unavailable(log=f"partner-onboarding: status {answer.status_code}")
