"""Taking an order through the two phases, and taking it up again after a crash or a silence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from rewards_shop.eai import Answer, Eai
from rewards_shop.events import Release
from rewards_shop.orders import Order, OrderState, Step, decide_stock, learn, tell
from rewards_shop.platform_client import Clock, NoAnswer
from rewards_shop.store import Store

log = logging.getLogger(__name__)

Warehouse = Callable[[str], bool]
"""Whether a reward, by its id, can be sent."""


class Checkout:
    """Each order is driven by one task at a time. What it is about to do is always on disk before it does it."""

    def __init__(self, store: Store, eai: Eai, warehouse: Warehouse, *, clock: Clock) -> None:
        self._store = store
        self._eai = eai
        self._warehouse = warehouse
        self._clock = clock
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        #: Between writing an order down and driving it, a second click would find nobody to wait for.
        self._placing = asyncio.Lock()

    async def place(self, order: Order, *, patience_seconds: float) -> Order:
        """Places the order, once: an order id that is known already is only waited for, never bought again.

        Returns the known state after at most `patience_seconds`. The order goes on without the person who waited.
        """
        order = tell(order, Step("placed", "ok", order.placed_at))
        async with self._placing:
            if await self._store.remember(order):
                self._drive(order.order_id, self._buy(order))
        if task := self._driving.get(order.order_id):
            await asyncio.wait({task}, timeout=patience_seconds)
        return await self._store.order(order.order_id) or order

    async def resume_open_orders(self) -> None:
        """Asks about every order whose outcome is not known, and finishes it one way or the other."""
        for order in await self._store.open_orders():
            if order.order_id not in self._driving:
                self._drive(order.order_id, self._resume(order.order_id))
        if self._driving:
            await asyncio.wait(set(self._driving.values()))

    async def hear(self, release: Release) -> None:
        """The platform says that an order's points are free. Waits until nobody else drives this order."""
        while task := self._driving.get(release.order_id):
            await asyncio.wait({task})
        if self._stopping:  # The event is on disk, and the next start acts upon it.
            return
        self._drive(release.order_id, self._release(release))
        await asyncio.wait({self._driving[release.order_id]})

    async def stop(self, *, grace_seconds: float) -> None:
        """Lets calls that are under way come to an end; what does not is taken up again at the next start."""
        self._stopping = True
        if self._driving:
            _, late = await asyncio.wait(set(self._driving.values()), timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _drive(self, order_id: str, way: Awaitable[None]) -> None:
        async def drive() -> None:
            try:
                await way
            except NoAnswer as silence:
                log.warning("order %s stays open: %s", order_id, silence)
            except Exception:  # The one place above a task: a defect must be seen, and the order stays open.
                log.exception("order %s stays open", order_id)

        task = asyncio.create_task(drive())
        self._driving[order_id] = task
        task.add_done_callback(lambda _: self._driving.pop(order_id, None))

    async def _buy(self, order: Order) -> None:
        """Goes on as long as the answers move the order; one that does not leaves it open for `_resume`."""
        while not order.finished:
            before = order.state
            order = await self._move(order)
            if order.state is before:
                log.error("order %s stays %s: %s", order.order_id, order.state, order.steps[-1].answer)
                return

    async def _resume(self, order_id: str) -> None:
        """Looks first where the transaction stands. An order that holds nothing is not bought now, after the fact."""
        order = await self._store.order(order_id)
        if order is None or order.finished:  # An event has finished it since it was found open.
            return
        order = await self._ask(order)
        if order.state is not OrderState.PLACED:
            await self._buy(order)

    async def _release(self, release: Release) -> None:
        if not await self._store.is_waiting(release.event_id):
            return
        order = await self._store.order(release.order_id)
        if order is None:  # Another program may use the same vendor id.
            await self._store.settle_event(release.event_id)
            return
        learnt = order if order.finished else learn(order, release, operation="event")
        if learnt.taken:
            log.error("order %s is %s, but %s says otherwise", order.order_id, order.state, release.event_id)
        step = Step("event", "ok", self._clock(), f"webhook {release.type}", release.event_id, 1)
        await self._store.save(tell(learnt, step), settles_event=release.event_id)
        if not order.finished:
            log.info("order %s: %s, released by %s", order.order_id, learnt.outcome, release.event_id)

    async def _move(self, order: Order) -> Order:
        match order.state:
            case OrderState.PLACED:
                return await self._tell_platform("hold", self._eai.commit, order)
            case OrderState.HELD:
                return await self._check_stock(order)
            case OrderState.CONFIRMING:
                return await self._tell_platform("confirm", self._eai.confirm, order)
            case OrderState.ROLLING_BACK:
                return await self._tell_platform("rollback", self._eai.rollback, order)
            case _:
                return order

    async def _check_stock(self, order: Order) -> Order:
        available = self._warehouse(order.reward_id)
        result = "ok" if available else "out_of_stock"
        return await self._write(decide_stock(order, available=available), Step("stock", result, self._clock()))

    async def _tell_platform(self, name: str, operation: Callable[[Order], Awaitable[Answer]], order: Order) -> Order:
        try:
            answer = await operation(order)
        except NoAnswer:
            return await self._ask(await self._write(order, Step(name, "no_answer", self._clock())))
        return await self._hear(name, answer, order)

    async def _ask(self, order: Order) -> Order:
        try:
            answer = await self._eai.look_up(order)
        except NoAnswer:
            await self._write(order, Step("ask", "no_answer", self._clock()))
            raise
        return await self._hear("ask", answer, order)

    async def _hear(self, name: str, answer: Answer, order: Order) -> Order:
        said = " ".join(filter(None, (str(answer.status), answer.state or answer.code)))
        result = "ok" if answer.status == 200 else "refused"
        step = Step(name, result, self._clock(), answer.call, said, answer.attempts)
        learnt = await self._write(learn(order, answer, operation=name), step)
        if learnt.finished:
            log.info("order %s: %s", learnt.order_id, learnt.outcome)
        return learnt

    async def _write(self, order: Order, step: Step) -> Order:
        told = tell(order, step)
        await self._store.save(told)
        return told
