"""The users who are sent to vendors: names from partner-onboarding, points from points-ledger."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeVar

from shared.errors import Unavailable

from sso_issuer.ledger_client import LedgerClient
from sso_issuer.onboarding_client import OnboardingClient, RegisteredProfile
from sso_issuer.questions import Questions
from sso_issuer.redirects.domain import EmailUnconfirmed, Profile, UserNotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Said:
    """What the neighbours said of a user, or that one of them said nothing."""

    profile: RegisteredProfile | Unavailable | None
    points: int | Unavailable


class UsersReader:
    """Asks both neighbours at once. What waits together is asked together."""

    def __init__(self, ledger: LedgerClient, onboarding: OnboardingClient) -> None:
        self._ledger = ledger
        self._onboarding = onboarding
        self._questions = Questions[tuple[str, str], _Said](self._ask, name="users", apart=itemgetter(0))

    async def read(self, tenant: str, user_id: str) -> tuple[Profile, int]:
        """The user's name and address, and the points that can be spent now.

        "No such user" takes precedence over "the ledger does not answer".

        Raises:
            UserNotFound: the tenant has no such user.
            EmailUnconfirmed: nobody has shown that the address is the user's.
            Unavailable: a neighbour does not answer, or not with sense.
        """
        said = await self._questions.ask((tenant, user_id))
        profile = _given(said.profile)
        if profile is None:
            raise UserNotFound
        if not profile.email_verified:
            raise EmailUnconfirmed
        points = _given(said.points)
        return Profile(
            user_id=user_id, firstname=profile.firstname, lastname=profile.lastname, email=profile.email
        ), points

    async def close(self) -> None:
        """Asks what waits in line, and takes no more."""
        await self._questions.close()

    async def _ask(self, users: Sequence[tuple[str, str]]) -> dict[tuple[str, str], _Said]:
        tenant, user_ids = users[0][0], [user_id for _, user_id in users]
        profiles, points = await asyncio.gather(
            self._onboarding.profiles(tenant, user_ids),
            self._ledger.points_of(tenant, user_ids),
            return_exceptions=True,
        )
        if isinstance(profiles, BaseException) and not isinstance(profiles, Unavailable):
            raise profiles
        if isinstance(points, BaseException) and not isinstance(points, Unavailable):
            raise points
        silent = Unavailable(log="a neighbour did not say anything of a user")
        return {
            (tenant, user_id): _Said(
                profiles if isinstance(profiles, Unavailable) else profiles.get(user_id, silent),
                points if isinstance(points, Unavailable) else points.get(user_id, silent),
            )
            for user_id in user_ids
        }


def _given(said: T | Unavailable) -> T:
    """What was said, or a refusal of its own for each request: an exception remembers where it was raised."""
    if isinstance(said, Unavailable):
        raise Unavailable(log=said.log)
    return said
