"""One run: the world, the clients and the faults, and then the look at what is left."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from history.auditing import audit
from history.faults import Faults
from history.network import Odds
from history.playing import Play
from history.recording import Recorder
from history.records import History
from history.world import running

#: So much longer a run goes on at most, until it has what was asked of it. Then it ends with less.
PATIENCE_SECONDS = 600
#: Told now and then: seconds gone, calls, indeterminate ones.
Progress = Callable[[float, int, int, str], None]


async def run(
    seed: int,
    *,
    seconds: float,
    calls: int = 0,
    indeterminate: int = 0,
    source: Path | None = None,
    with_standby: bool = False,
    progress: Progress = lambda *_: None,
) -> History:
    """Plays for so long, and longer until there are so many calls; then says what there is.

    Args:
        seed: makes runs different. It does not make one again, since the machine has a say in it too.
        calls, indeterminate: the fewest that a run has.
        with_standby: PostgreSQL has a synchronous standby. The run does not end before it has taken over.
    """
    chance = random.Random(seed)
    recorder = Recorder(seed)
    history = recorder.history
    async with running(chance, recorder, Odds(), source=source, with_standby=with_standby) as world:
        ports = [proxy.port for proxy in world.client_proxies]
        play = Play(recorder, world.credentials, ports, seed, reads=not with_standby)
        await play.open_accounts()
        faults = Faults(world, recorder, chance)
        began = time.monotonic()
        clients = asyncio.create_task(play.run())
        trouble = asyncio.create_task(faults.run())
        try:

            def is_long_enough() -> bool:
                gone = time.monotonic() - began
                if gone > seconds + PATIENCE_SECONDS:
                    return True
                enough = len(history.calls) >= calls and history.indeterminate >= indeterminate
                return gone >= seconds and enough and world.standby is None

            while not is_long_enough():
                done, _ = await asyncio.wait({clients, trouble}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                last = history.faults[-1].what if history.faults else ""
                progress(time.monotonic() - began, len(history.calls), history.indeterminate, last)
            trouble.cancel()
            await asyncio.wait({trouble})
            await faults.heal()
            play.stop()
            await clients
        finally:
            for task in (clients, trouble):
                task.cancel()
            await asyncio.gather(clients, trouble, return_exceptions=True)
            play.close()
        await world.settle()
        await audit(world, recorder, play.followed)
    return history
