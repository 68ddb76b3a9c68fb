"""Shops that redeem points all the time, and ask again until they are answered."""

import asyncio
import base64
import itertools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from history.network import Answer, Line

CLIENTS = 8
USERS = tuple(f"failover-{number}" for number in range(6))
CREDIT = 10_000_000
#: A service answers within ten seconds, whatever its database does.
TIMEOUT_SECONDS = 12.0
#: What a shop waits before it asks again, and between two of its customers.
AGAIN_SECONDS = 0.3
CUSTOMER_SECONDS = 0.03


class WrongAnswer(Exception):
    """An answer that the contract does not allow here; the message has it."""


@dataclass(slots=True)
class Redemption:
    """A commit and its confirm; times, of `time.monotonic`, are those of the acknowledgement."""

    transaction: str
    user: str
    points: int
    held_at: float | None = None
    confirmed_at: float | None = None


@dataclass(slots=True)
class Tally:
    """What came back, each with its time."""

    redemptions: list[Redemption] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    unanswered: list[float] = field(default_factory=list)


def credentials(auth: tuple[str, str]) -> dict[str, str]:
    """The headers of a client that calls with its id and secret."""
    return {"Authorization": f"Basic {base64.b64encode(':'.join(auth).encode()).decode()}"}


class Load:
    """The shops of one vendor, through the gateway."""

    def __init__(self, port: int, vendor: Mapping[str, str], platform: Mapping[str, str]) -> None:
        self._port, self._vendor, self._platform = port, vendor, platform
        self._numbers = itertools.count(1)
        self._stopped = asyncio.Event()
        self._held, self._youngest = asyncio.Event(), 0
        self.tally = Tally()

    async def open_accounts(self) -> None:
        """Every user with points."""
        line = Line(self._port, self._platform)
        credit = {"points": CREDIT, "reference": "to begin with", "reason": "for the load"}
        try:
            for user in USERS:
                for method, path, body in (
                    ("PUT", f"/v1/accounts/{user}", None),
                    ("POST", f"/v1/accounts/{user}/credits", credit),
                ):
                    answer = await line.ask(method, path, body, timeout_seconds=TIMEOUT_SECONDS)
                    if answer is None or answer.status >= 300:
                        raise WrongAnswer(f"{method} {path}: {answer}")
        finally:
            line.close()

    async def run(self) -> None:
        """Until `stop`; then all that is under way is brought to its end.

        Raises:
            WrongAnswer: as it says.
        """
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._redeem_on_and_on())

    def stop(self) -> None:
        self._stopped.set()

    async def until_acknowledged(self) -> None:
        """Returns when something more has been acknowledged that was asked for from now on."""
        asked = next(self._numbers)
        while self._youngest < asked:
            self._held.clear()
            await self._held.wait()

    async def _redeem_on_and_on(self) -> None:
        line = Line(self._port, self._vendor)
        try:
            while not self._stopped.is_set():
                await self._redeem(line)
                await asyncio.sleep(CUSTOMER_SECONDS)
        finally:
            line.close()

    async def _redeem(self, line: Line) -> None:
        number = next(self._numbers)
        one = Redemption(f"failover-{number}", random.choice(USERS), random.randint(1, 50))
        self.tally.redemptions.append(one)
        named = {"userid": one.user, "transactionid": one.transaction}
        one.held_at = await self._insist(line, "commit", named | {"pointstodeduct": one.points, "description": "a mug"})
        self._youngest = max(self._youngest, number)
        self._held.set()
        one.confirmed_at = await self._insist(line, "confirm", named)

    async def _insist(self, line: Line, operation: str, body: Mapping[str, Any]) -> float:
        """Asks with one Idempotency-Key until there is an answer. Returns when that came."""
        headers = {"Idempotency-Key": f"{operation}-{body['transactionid']}"}
        while True:
            path = f"/eai/v1/points?{operation}"
            answer = await line.ask("POST", path, body, headers=headers, timeout_seconds=TIMEOUT_SECONDS)
            now = time.monotonic()
            if answer is not None and answer.status == 200:
                self.tally.acknowledged.append(now)
                return now
            _tolerate(answer, f"{operation} of {body['transactionid']}")
            (self.tally.unanswered if answer is None else self.tally.refused).append(now)
            await asyncio.sleep(AGAIN_SECONDS)


def _tolerate(answer: Answer | None, what: str) -> None:
    """No answer and 503 are what a shop must live with, and nothing else."""
    if answer is not None and answer.status != 503:
        raise WrongAnswer(f"{what} is answered {answer.status}, after all that was acknowledged: {answer.body}")


def pauses(acknowledged: list[float], begun: float, ended: float, shortest: float) -> Iterator[float]:
    """The seconds of each pause between these times in which nothing was acknowledged, if it was no shorter."""
    times = [begun, *(at for at in acknowledged if begun < at < ended), ended]
    yield from (after - before for before, after in itertools.pairwise(times) if after - before >= shortest)
