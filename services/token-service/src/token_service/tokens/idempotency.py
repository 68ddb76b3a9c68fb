"""Issuing and verifying. With a key, effect and answer are kept in one transaction, the answer sealed."""

from collections.abc import Callable, Sequence

from shared.callers import Caller
from shared.db import driver_of
from shared.errors import Refusal
from shared.idempotency import Answer, Answers, RequestKey
from sqlalchemy.ext.asyncio import AsyncConnection

from token_service.tokens.domain import Token, TokenNotYetValid
from token_service.tokens.issuing import Issued, Issuing
from token_service.tokens.store import Placement
from token_service.tokens.terms import Order
from token_service.tokens.verifying import Verifying, Visit


class _NotFinal(Exception):
    """A refusal that may change with time, and so is not stored."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class IdempotentTokens:
    """The use cases of routes that take an Idempotency-Key. One a process."""

    def __init__(self, answers: Answers, issuing: Issuing, verifying: Verifying) -> None:
        self._answers = answers
        self._issuing = issuing
        self._verifying = verifying

    async def issue(
        self, caller: Caller, key: RequestKey | None, order: Order, shape: Callable[[Issued], Answer]
    ) -> Answer:
        """Issues one token."""
        if key is None:
            return shape(await self._issuing.issue(caller.tenant, order))
        return await self.issue_all(caller, key, [order], lambda issued: shape(issued[0]))

    async def issue_all(
        self, caller: Caller, key: RequestKey | None, orders: Sequence[Order], shape: Callable[[list[Issued]], Answer]
    ) -> Answer:
        """Issues all or nothing."""
        if key is None:
            return shape(await self._issuing.issue_all(caller.tenant, orders))
        kept = await self._answers.recall(caller.tenant, caller.client_id, key)
        if kept is not None:
            return kept
        numbered = await self._issuing.number(caller.tenant, orders)
        placements: dict[Placement, int] = {}

        async def act(connection: AsyncConnection) -> Answer:
            issued, placed = await self._issuing.write(await driver_of(connection), numbered)
            placements.update(placed)
            return shape(issued)

        answer = await self._answers.once(caller.tenant, caller.client_id, key, act)
        if not answer.replayed:
            self._issuing.keep(placements)
        return answer

    async def verify(
        self,
        caller_id: str,
        tenant: str,
        text: str,
        visit: Visit,
        key: RequestKey | None,
        shape: Callable[[Token], Answer],
    ) -> Answer:
        """Verifies and uses up. With a key, a lost answer can be asked for again, even after the token's end.

        Args:
            caller_id: the owner of the key.

        Raises:
            Refusal: as `Verifying.verify`. Final refusals are stored and repeated.
        """
        if key is None:
            return shape(await self._verifying.verify(tenant, text, visit))
        located = await self._verifying.locate(tenant, text, visit)
        kept = await self._answers.recall(tenant, caller_id, key)
        if kept is not None:
            return kept
        question = self._verifying.check_minute(located)

        async def act(connection: AsyncConnection) -> Answer:
            (answered,) = await self._verifying.answer_within(await driver_of(connection), [question])
            outcome = self._verifying.settle(answered)
            if isinstance(outcome, TokenNotYetValid):
                raise _NotFinal(outcome)
            if isinstance(outcome, Refusal):
                raise outcome
            return shape(outcome)

        try:
            return await self._answers.once(tenant, caller_id, key, act)
        except _NotFinal as not_final:
            raise not_final.refusal from None
