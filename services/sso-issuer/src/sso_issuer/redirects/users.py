"""The users who are sent to vendors: names from partner-onboarding, points from points-ledger."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import Unavailable

from sso_issuer.ledger_client import LedgerClient
from sso_issuer.onboarding_client import OnboardingClient, RegisteredProfile
from sso_issuer.redirects.domain import EmailUnconfirmed, Profile, UserNotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """What the neighbours said of a user, or that one of them said nothing."""

    profile: RegisteredProfile | Unavailable | None
    points: int | Unavailable

    def judge(self) -> tuple[Profile, int]:
        """The user's name and address, and the points that can be spent now.

        "No such user" takes precedence over "the ledger does not answer".

        Raises:
            UserNotFound: the tenant has no such user.
            EmailUnconfirmed: nobody has shown that the address is the user's.
            Unavailable: a neighbour does not answer, or not with sense.
        """
        profile = given(self.profile)
        if profile is None:
            raise UserNotFound
        if not profile.email_verified:
            raise EmailUnconfirmed
        points = given(self.points)
        return Profile(
            user_id=profile.user_id, firstname=profile.firstname, lastname=profile.lastname, email=profile.email
        ), points


class UsersReader:
    """Asks both neighbours at once, each about all users of a tenant in one call."""

    def __init__(self, ledger: LedgerClient, onboarding: OnboardingClient) -> None:
        self._ledger = ledger
        self._onboarding = onboarding

    async def read(self, users: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Said]:
        """What is said of users, by tenant and user id, at this moment."""
        by_tenant: dict[str, list[str]] = {}
        for tenant, user_id in users:
            by_tenant.setdefault(tenant, []).append(user_id)
        calls = [self._ask(tenant, user_ids) for tenant, user_ids in by_tenant.items()]
        found = [await calls[0]] if len(calls) == 1 else await asyncio.gather(*calls)
        return {place: said for of_tenant in found for place, said in of_tenant.items()}

    async def _ask(self, tenant: str, user_ids: Sequence[str]) -> dict[tuple[str, str], Said]:
        profiles, points = await asyncio.gather(
            self._onboarding.profiles(tenant, user_ids),
            self._ledger.points_of(tenant, user_ids),
            return_exceptions=True,
        )
        return {(tenant, user_id): Said(said_of(user_id, profiles), said_of(user_id, points)) for user_id in user_ids}


def said_of(user_id: str, answer: Mapping[str, T] | BaseException) -> T | Unavailable:
    """What a neighbour's answer says of one user.

    Raises:
        Exception: the answer itself, if it is trouble of another kind than silence.
    """
    if isinstance(answer, Unavailable):
        return answer
    if isinstance(answer, BaseException):
        raise answer
    return answer.get(user_id, Unavailable(log="a neighbour did not say anything of a user"))


def given(said: T | Unavailable) -> T:
    """What was said, or a refusal of its own for each request: an exception remembers where it was raised."""
    if isinstance(said, Unavailable):
        raise Unavailable(log=said.log)
    return said
