"""Drains many events into one receiver by two processes, and counts what came."""

import asyncio
import time
from dataclasses import dataclass

from platform_testing.event_processes import READER, EventProcess, crowd, let_time_pass, record
from platform_testing.receivers import receiving


@dataclass(frozen=True)
class Drained:
    """What the receiver got."""

    events: int
    doubles: int
    kills: int
    seconds: float


async def drain(url: str, count: int, *, kills: int = 0, patience_seconds: float = 120.0) -> Drained:
    """Records `count` events in an empty database, and returns when all have arrived.

    Args:
        kills: how often one of the two processes is killed (-9) and started anew, spread over the events.
        patience_seconds: how long may pass until the next event that is new arrives.
    """
    async with crowd(url) as (database, events), receiving(of_one_connection=50) as receiver:
        await events.endpoints.add(READER, None, url=receiver.url, types=(), description="")
        await record(database, count)
        processes = await EventProcess.start_two("deliver", url)
        begun = time.monotonic()
        seen: set[str] = set()
        looked_at = killed = 0
        while len(seen) < count:
            async with asyncio.timeout(patience_seconds):
                while looked_at == len(receiver.deliveries):  # noqa: ASYNC110 - it counts, and says nothing
                    await asyncio.sleep(0.02)
            seen.update(delivery.headers["webhook-id"] for delivery in receiver.deliveries[looked_at:])
            looked_at = len(receiver.deliveries)
            if killed < kills and len(seen) > count * (killed + 1) // (kills + 1):
                await processes[killed % 2].kill()
                processes[killed % 2] = await EventProcess.start("deliver", url)
                killed += 1
                await let_time_pass(database)
        seconds = time.monotonic() - begun
        # Doubles would come from what is not settled yet.
        while await events.deliveries.waiting():  # noqa: ASYNC110 - the other processes say it to nobody
            await asyncio.sleep(0.05)
        for process in processes:
            await process.kill()
        return Drained(len(seen), len(receiver.deliveries) - len(seen), killed, seconds)
