"""Cases of `loop_that_dies.yaml`; `semgrep --test` runs them, nothing else does."""

import asyncio

from shared.chores import Chore


async def sweep_until_stopped(stopping, sweep):
    while not stopping.is_set():
        # ruleid: loop-that-dies
        try:
            await sweep()
        except OSError:
            pass
        await asyncio.sleep(1)


async def sweep_for_ever(sweep):
    while True:
        await asyncio.sleep(1)
        # ruleid: loop-that-dies
        try:
            await sweep()
        except Exception:
            pass


async def pages_of(ask):
    while True:
        # ok: loop-that-dies
        try:
            page = await ask()
        except KeyError:
            return
        if not page:
            return


# ok: loop-that-dies
SWEEP = Chore("sweep", sweep_for_ever, every_seconds=1.0)
