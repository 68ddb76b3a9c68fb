"""The questions to partner-onboarding: sessions, profiles, and origins of tenants' front ends."""

from collections.abc import Sequence

from pydantic import BaseModel
from shared.calling import ServiceClient
from shared.errors import Unavailable
from shared.identifiers import Tenant

from sso_issuer.questions import Questions


class Session(BaseModel):
    """Who is signed in."""

    tenant: Tenant
    user_id: str
    allowed_origins: frozenset[str]
    roles: frozenset[str] = frozenset()
    tenant_name: str = ""


class _Sessions(BaseModel):
    sessions: list[Session | None]


class RegisteredProfile(BaseModel):
    """A user of the register."""

    user_id: str
    firstname: str
    lastname: str
    email: str
    email_verified: bool


class _Profiles(BaseModel):
    profiles: list[RegisteredProfile]
    absent: list[str]


class _OriginAnswer(BaseModel):
    allowed: bool


class OnboardingClient:
    """Questions to partner-onboarding about users, sessions and front ends.

    Args:
        is_distributed: whether the platform's tables are, by tenant: then no two tenants share a question.
    """

    def __init__(self, service: ServiceClient, *, is_distributed: bool = False) -> None:
        self._service = service
        # A session begins with its tenant.
        self._sessions = Questions(
            self._find_sessions,
            name="sessions",
            tenant_of=lambda session: session.partition(".")[0],
            is_of_one_tenant=is_distributed,
        )

    async def find_session(self, session: str) -> Session | None:
        """The user of a browser session; None if the session is unknown or has ended.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return await self._sessions.ask(session)

    async def profiles(self, tenant: str, user_ids: Sequence[str]) -> dict[str, RegisteredProfile | None]:
        """The users' profiles by their ids; None for those that the tenant does not have.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        answer = await self._service.ask(f"/internal/tenants/{tenant}/profiles", {"user_ids": user_ids})
        found = self._service.understand(_Profiles, answer)
        absent: dict[str, RegisteredProfile | None] = dict.fromkeys(found.absent)
        return absent | {profile.user_id: profile for profile in found.profiles}

    async def is_origin_allowed(self, origin: str) -> bool:
        """Whether some tenant has configured this origin for its front end.

        Raises:
            Unavailable: partner-onboarding does not answer, or not with sense.
        """
        return (await self._service.read(_OriginAnswer, "/internal/origins", {"origin": origin})).allowed

    async def aclose(self) -> None:
        await self._service.aclose()

    async def _find_sessions(self, sessions: Sequence[str]) -> dict[str, Session | None]:
        answer = await self._service.ask("/internal/sessions/check-many", {"sessions": sessions})
        found = self._service.understand(_Sessions, answer).sessions
        if len(found) != len(sessions):
            raise Unavailable(log="partner-onboarding: answered for other sessions")
        return dict(zip(sessions, found, strict=True))
