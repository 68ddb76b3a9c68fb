"""Whether a service can do its work: what `/readyz` says, and that it says it at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from time import time
from typing import Any, Final

import sqlalchemy as sa
from prometheus_client import Gauge

from shared import errors
from shared.calling import ServiceClient
from shared.chores import Chores
from shared.database_figures import tell_database
from shared.db import Database
from shared.distributed_functions import check_functions, functions_of
from shared.errors import Unavailable
from shared.migrating import head_of
from shared.sealed_columns import KeysCheck
from shared.sealing import Sealer

#: Raises when the service cannot do its work yet; a mapping that it returns is shown beside.
ReadinessCheck = Callable[[], Awaitable[object]]

_check = Gauge("readiness_check", "1 if the check of /readyz went well when it was last asked, else 0.", ["check"])
#: The time for all checks together, since probes ask every second.
_SECONDS: Final = 0.8
#: Service tokens live for a minute, and tolerate less than that of two clocks.
_CLOCKS_APART_SECONDS: Final = 30.0


def checks_of(database: Database, package: str, metadata: sa.MetaData, sealer: Sealer) -> Mapping[str, ReadinessCheck]:
    """What every service needs: its database, and key-encryption keys that open what lies there; where the tables are
    distributed, the functions that write there."""
    checks: dict[str, ReadinessCheck] = {
        "database": lambda: check_database(database, package),
        "keys": KeysCheck(database, metadata, sealer).check,
    }
    if database.is_distributed and functions_of(metadata):
        checks["functions"] = lambda: check_functions(database, metadata)
    return checks


class Readiness:
    """The checks of a service, each under way at most once, however often it is asked.

    A check that hangs is named like one that fails. It is not cancelled: to cancel a statement takes a database that
    answers.
    """

    def __init__(
        self,
        checks: Mapping[str, ReadinessCheck],
        chores: Chores | None,
        neighbours: Sequence[ServiceClient] = (),
    ) -> None:
        self._checks = checks
        self._chores = chores
        self._neighbours = neighbours
        self._under_way: dict[str, asyncio.Task[object]] = {}

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and each check's outcome: `ok`, or why not.

        A late chore makes nothing unready, and neither does a neighbour that does not answer: what does not need it
        is served, and a restart would not help.
        """
        tasks = {name: self._begun(name) for name in self._checks}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=_SECONDS)
        outcomes = {name: _outcome(task) for name, task in tasks.items()}
        for name, outcome in outcomes.items():
            _check.labels(name).set(outcome == "ok")
        shown: dict[str, Any] = {"checks": outcomes}
        for name, task in tasks.items():
            if outcomes[name] == "ok" and isinstance(found := task.result(), Mapping):
                shown[name] = found
        if self._chores is not None:
            shown["chores"] = self._chores.freshness()
        if self._neighbours:
            shown["neighbours"] = {neighbour.name: neighbour.standing() for neighbour in self._neighbours}
        return all(outcome == "ok" for outcome in outcomes.values()), shown

    def _begun(self, name: str) -> "asyncio.Task[object]":
        task = self._under_way.get(name)
        if task is None or task.done():
            task = self._under_way[name] = asyncio.create_task(_run(self._checks[name]))
        return task


async def _run(check: ReadinessCheck) -> object:
    return await check()


def _outcome(task: "asyncio.Task[object]") -> str:
    if not task.done():
        return "does not answer"
    error = None if task.cancelled() else task.exception()
    if task.cancelled() or error is not None:
        return error.message if isinstance(error, errors.Refusal) else type(error).__name__
    return "ok"


async def check_database(database: Database, package: str) -> Mapping[str, Any]:
    """The revision of the database, and how far this machine's clock is ahead of the database's.

    Raises:
        Unavailable: it cannot be reached, is not migrated as far as this code knows, or the clocks are too far apart.
    """
    head = _head(package)
    table = sa.table("alembic_version", sa.column("version_num"), schema=package)
    async with database.transaction() as connection:
        exists = await connection.scalar(sa.select(sa.func.to_regclass(f"{package}.alembic_version")))
        current = None if exists is None else await connection.scalar(sa.select(table.c.version_num))
        asked_at = time()
        theirs = await connection.scalar(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp())))
        answered_at = time()
    ahead = (asked_at + answered_at) / 2 - float(theirs or 0)
    if current is None or head is None or current < head:
        raise Unavailable(f"The database is at revision {current}, this program needs {head}.")
    if abs(ahead) > _CLOCKS_APART_SECONDS:
        raise Unavailable(f"The clock of this machine is {ahead:.0f} s ahead of the database's.")
    tell_database(current, ahead)
    return {"revision": current, "clock_ahead_seconds": round(ahead, 3)}


@lru_cache(maxsize=8)
def _head(package: str) -> str | None:
    return head_of(package)
