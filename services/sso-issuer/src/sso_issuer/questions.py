"""Questions to a neighbour: what waits together is asked together.

An internal call costs as much as signing several tokens. Under load, one call answers many requests; a single question
is asked at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from shared.errors import Unavailable
from shared.group_commit import GroupCommit
from shared.request_frame import RequestContext, current_request

Q = TypeVar("Q", bound=Hashable)
R = TypeVar("R")
S = TypeVar("S")

#: Nobody waits in line for longer than this, and then for the neighbour as well.
_PATIENCE_SECONDS: Final = 4.0
#: The services take no more in one call.
_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Q]):
    question: Q
    #: The request that waits for the answer.
    asked_for: RequestContext | None = field(default_factory=current_request.get)


def _nobody(_: object) -> str:
    return ""


class Questions(Generic[Q, R]):
    """A line of questions before a neighbour.

    Args:
        ask: asks different questions in one call; returns the answer to each. Where it raises Unavailable, those who
            asked one of these are refused, and nobody else.
        name: label of the metrics.
        tenant_of: whose a question is; without it, all are of one tenant.
        is_of_one_tenant: whether the questions of one call must be, so that a tenant for which the neighbour cannot
            answer keeps no other waiting.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Q]], Awaitable[Mapping[Q, R]]],
        *,
        name: str,
        tenant_of: Callable[[Q], str] = _nobody,
        is_of_one_tenant: bool = False,
    ) -> None:
        self._ask = ask
        # Tried once: the client asks a neighbour again by itself.
        self._line = GroupCommit[_Asked[Q], R](
            self._ask_all,
            name=name,
            batch_size=_AT_ONCE,
            attempts=1,
            patience_seconds=_PATIENCE_SECONDS,
            tenant_of=lambda asked: tenant_of(asked.question),
            is_of_one_tenant=is_of_one_tenant,
        )

    async def ask(self, question: Q) -> R:
        """The answer to one question, asked after this was called.

        Raises:
            Unavailable: the neighbour does not answer, leaves this question out, or too many wait for it.
        """
        return await self._line.submit(_Asked(question))

    async def close(self) -> None:
        """Asks what waits in line, and takes no more."""
        await self._line.close()

    async def _ask_all(self, asked: Sequence[_Asked[Q]]) -> Sequence[R | Exception]:
        answers = await self._call(asked)
        return [_answer(answers, one.question) for one in asked]

    async def _call(self, asked: Sequence[_Asked[Q]]) -> Mapping[Q, R] | Unavailable:
        # The call goes by the id of the first request that waits for it.
        current_request.set(asked[0].asked_for)
        try:
            return await self._ask(list(dict.fromkeys(one.question for one in asked)))
        except Unavailable as refusal:
            return refusal


def _answer(answers: Mapping[Q, R] | Unavailable, question: Q) -> R | Exception:
    # A refusal of its own for each request, since an exception remembers where it was raised.
    if isinstance(answers, Unavailable):
        return Unavailable(log=answers.log)
    if question not in answers:
        return Unavailable(log="a neighbour left a question out")
    return answers[question]


async def in_parts(ask: Callable[[Sequence[Q]], Awaitable[Mapping[Q, R]]], questions: Iterable[Q]) -> dict[Q, R]:
    """The answers to any number of questions, asked in calls that the other service takes, one after the other.

    Raises:
        Unavailable: one of the calls was not answered.
    """
    left = list(dict.fromkeys(questions))
    answers: dict[Q, R] = {}
    while left:
        answers |= await ask(left[:_AT_ONCE])
        left = left[_AT_ONCE:]
    return answers


async def both(first: Coroutine[Any, Any, R], second: Coroutine[Any, Any, S]) -> tuple[R, S]:
    """What two questions give that are asked at the same time. Both have ended when this returns or raises."""
    asking = asyncio.create_task(second)
    try:
        one = await first
    finally:
        await asyncio.wait([asking])
        # Looked at in any case: an error that nobody looks at is reported as a fault.
        failure = None if asking.cancelled() else asking.exception()
    if failure is not None:
        raise failure
    return one, asking.result()
