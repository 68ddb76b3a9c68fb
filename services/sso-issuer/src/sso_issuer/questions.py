"""Questions to a neighbour about users: what waits together is asked together.

An internal call costs as much as signing several tokens. Under load, one call answers many redirects; a single question
is asked at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from shared.errors import Unavailable
from shared.group_commit import GroupCommit
from shared.request_frame import RequestContext, current_request

R = TypeVar("R")

#: Nobody waits in line for longer than this, and then for the neighbour as well.
_PATIENCE_SECONDS: Final = 4.0
#: The services take no more users in one call.
_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class _Question:
    tenant: str
    user_id: str
    #: The request that waits for the answer.
    asked_for: RequestContext | None = field(default_factory=current_request.get)


class Questions(Generic[R]):
    """A line of questions before a neighbour.

    Args:
        ask: asks about users of one tenant, each named once; returns the answer for each by the user's id. Where it
            raises Unavailable, those who asked about this tenant are refused, and nobody else.
        name: label of the metrics.
    """

    def __init__(self, ask: Callable[[str, Sequence[str]], Awaitable[Mapping[str, R]]], *, name: str) -> None:
        self._ask = ask
        # Tried once: the client asks a neighbour again by itself.
        self._line = GroupCommit[_Question, R](
            self._ask_all, name=name, batch_size=_AT_ONCE, attempts=1, patience_seconds=_PATIENCE_SECONDS
        )

    async def ask(self, tenant: str, user_id: str) -> R:
        """The answer for one user.

        Raises:
            Unavailable: the neighbour does not answer, does not name the user, or too many wait for it.
        """
        return await self._line.submit(_Question(tenant, user_id))

    async def close(self) -> None:
        """Asks what waits in line, and takes no more."""
        await self._line.close()

    async def _ask_all(self, questions: Sequence[_Question]) -> Sequence[R | Exception]:
        tenants = list(dict.fromkeys(question.tenant for question in questions))
        found = await asyncio.gather(
            *(self._ask_tenant([one for one in questions if one.tenant == tenant]) for tenant in tenants)
        )
        answers = dict(zip(tenants, found, strict=True))
        return [self._answer(answers[question.tenant], question) for question in questions]

    async def _ask_tenant(self, questions: Sequence[_Question]) -> Mapping[str, R] | Unavailable:
        # The call goes by the id of the first request that waits for it. `gather` gave this a context of its own.
        current_request.set(questions[0].asked_for)
        try:
            return await self._ask(questions[0].tenant, list(dict.fromkeys(one.user_id for one in questions)))
        except Unavailable as refusal:
            return refusal

    def _answer(self, answers: Mapping[str, R] | Unavailable, question: _Question) -> R | Exception:
        # A refusal of its own for each request, since an exception remembers where it was raised.
        if isinstance(answers, Unavailable):
            return Unavailable(log=answers.log)
        if question.user_id not in answers:
            return Unavailable(log="a neighbour did not say anything of a user")
        return answers[question.user_id]
