"""What the clients do: ordinary redemptions, and all the disorder that lost answers and impatient shops bring."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from time import time
from typing import Any

from history.network import Answer, Line
from history.recording import Recorder
from history.records import Call
from history.world import HASTY, VENDORS, Credentials

WORKERS = 24
RICH = tuple(f"rich-{n}" for n in range(5))
POOR = tuple(f"poor-{n}" for n in range(4))
USERS = RICH + POOR
#: So long a client waits for an answer.
TIMEOUT_SECONDS = 2.0
#: What those who get no answer wait before they do anything else, so that they do not spin while all is down.
PAUSE_SECONDS = 0.1


class Play:
    """The clients of a run.

    Args:
        ports: where they reach the ledgers.
        reads: whether they also only look. What is seen and not yet passed on to a standby may be lost with the server:
            the ledger promises no more than that what it has acknowledged is not.
    """

    def __init__(
        self, recorder: Recorder, credentials: Credentials, ports: Sequence[int], seed: int, *, reads: bool = True
    ) -> None:
        self._reads = reads
        self._recorder, self._credentials, self._ports = recorder, credentials, ports
        self._chance = random.Random(seed)
        self._numbers = {vendor: itertools.count(1) for vendor in VENDORS}
        self._keys = itertools.count(1)
        self._references = itertools.count(1)
        self._idle: dict[tuple[int, str], list[Line]] = {}
        self._stopped = False
        self.followed: list[str] = []

    async def run(self) -> None:
        """Until `stop`."""
        await asyncio.gather(*(self._work(f"client-{n}") for n in range(WORKERS)), self._follow())

    def stop(self) -> None:
        self._stopped = True

    async def open_accounts(self) -> None:
        """Every user with points of their own."""
        for user in USERS:
            await self._until_answered("PUT", f"/v1/accounts/{user}", None)
            call = {"user": user, "points": 10_000_000 if user in RICH else 300, "reference": "to begin with"}
            while (await self._post("platform", "credit", call)).outcome == "info":
                continue
        await self._until_answered("PUT", f"/v1/vendors/{HASTY}", {"hold_seconds": 1})

    async def _until_answered(self, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        while True:
            answer = await self._send("platform", method, path, body, {})
            if answer is not None and answer.status < 300:
                return

    # What a worker does, over and over.

    async def _work(self, process: str) -> None:
        scenes: Sequence[tuple[int, Callable[[str], Awaitable[None]]]] = (
            (6, self._redeem),
            (2, self._roll_back_before_commit),
            (2, self._confirm_against_rollback),
            (3, self._confirm_as_it_expires),
            (3, self._refund_against_refund),
            (2, self._commit_many_times),
            (2, self._spend_more_than_there_is),
            (2, self._post_points),
            (2 if self._reads else 0, self._read_balance),
            (1, self._change_the_mind),
        )
        weights, acts = [weight for weight, _ in scenes], [act for _, act in scenes]
        while not self._stopped:
            await self._chance.choices(acts, weights)[0](process)

    async def _redeem(self, process: str) -> None:
        """As a shop should: ask again with the same key until there is an answer, then end it."""
        one = self._transaction()
        if (await self._insist(process, "commit", one)).outcome != "ok":
            return
        end = self._chance.choice(("confirm", "confirm", "confirm part", "rollback", "nothing"))
        if end == "confirm part":
            await self._insist(process, "confirm", one | {"points": self._chance.randint(1, one["points"])})
        elif end != "nothing":
            await self._insist(process, end, self._without_points(one))
        if self._reads and self._chance.random() < 0.3:
            await self._ask(process, "look_up", self._named(one))

    async def _roll_back_before_commit(self, process: str) -> None:
        one = self._transaction()
        gone = self._without_points(one)
        acts = [self._insist(process, "rollback", gone), self._insist(process, "commit", one)]
        if self._chance.random() < 0.5:
            await asyncio.gather(*acts)
        else:
            for act in acts:
                await act
        if self._chance.random() < 0.5:
            await self._ask(process, "commit", one)
        await self._ask(process, "confirm", gone)

    async def _confirm_against_rollback(self, process: str) -> None:
        one = self._transaction()
        if (await self._insist(process, "commit", one)).outcome == "fail":
            return
        gone = self._without_points(one)
        ends = ["confirm", "rollback", *self._chance.choices(("confirm", "rollback"), k=self._chance.randint(0, 2))]
        self._chance.shuffle(ends)
        await asyncio.gather(*(self._insist(process, end, gone) for end in ends))

    async def _confirm_as_it_expires(self, process: str) -> None:
        one = self._transaction(HASTY)
        told = await self._insist(process, "commit", one)
        if "expiresat" not in told.body:
            return
        left = datetime.fromisoformat(told.body["expiresat"]).timestamp() - time()
        await asyncio.sleep(max(0.0, left + self._chance.uniform(-0.05, 0.05)))
        ends = self._chance.choices(("confirm", "confirm", "rollback", "commit", *(["look_up"] * self._reads)), k=3)
        await asyncio.gather(*(self._end(process, end, one) for end in ends))

    async def _refund_against_refund(self, process: str) -> None:
        one = self._transaction(points=12)
        if (await self._insist(process, "commit", one)).outcome != "ok":
            return
        if (await self._insist(process, "confirm", self._without_points(one))).outcome == "fail":
            return
        refunds = [
            self._without_points(one) | {"points": self._chance.randint(3, 9), "reference": f"r-{n}"}
            for n in self._chance.choices(range(3), k=4)
        ]
        await asyncio.gather(*(self._insist(process, "refund", refund) for refund in refunds))

    async def _commit_many_times(self, process: str) -> None:
        one = self._transaction()
        other = one | {"points": one["points"] + 1}
        await asyncio.gather(
            *(self._ask(process, "commit", one) for _ in range(3)),
            self._ask(process, "commit", other),
            self._insist(process, "commit", one),
        )
        await self._end(process, self._chance.choice(("confirm", "rollback", "commit")), one)

    async def _spend_more_than_there_is(self, process: str) -> None:
        user = self._chance.choice(POOR)
        ones = [self._transaction(self._chance.choice((HASTY, *VENDORS)), user=user, points=60) for _ in range(5)]
        calls = await asyncio.gather(*(self._insist(process, "commit", one) for one in ones))
        for one, call in zip(ones, calls, strict=True):
            if call.outcome == "ok":
                # Most is given back, so that there is something to spend again.
                end = self._chance.choice(("rollback", "rollback", "confirm"))
                await self._insist(process, end, self._without_points(one))
            elif self._chance.random() < 0.3:
                # A late duplicate: the shop has said no.
                await self._ask(process, "commit", one)

    async def _post_points(self, process: str) -> None:
        user = self._chance.choice(USERS)
        operation = self._chance.choice(("credit", "credit", "debit"))
        asked = {"user": user, "points": self._chance.randint(1, 60), "reference": f"p-{next(self._references)}"}
        call = await self._post(process, operation, asked)
        if call.outcome == "info" or self._chance.random() < 0.3:
            await self._post(process, operation, asked)

    async def _read_balance(self, process: str) -> None:
        user = self._chance.choice(USERS)
        call = self._recorder.begin(process, "balance", {"user": user})
        if self._chance.random() < 0.5:
            answer = await self._send("platform", "GET", f"/v1/accounts/{user}", None, {})
        else:
            answer = await self._send(self._chance.choice(VENDORS), "GET", f"/eai/v1/balances/{user}", None, {})
        self._recorder.end(call, answer)

    async def _change_the_mind(self, process: str) -> None:
        """Commit and at once rollback, each without waiting; then all of it once more."""
        one = self._transaction()
        gone = self._without_points(one)
        for _ in range(2):
            await asyncio.gather(
                self._ask(process, "commit", one),
                self._ask(process, "rollback", gone),
                self._ask(process, "confirm", gone),
            )

    # How it is asked.

    def _transaction(self, vendor: str = "", *, user: str = "", points: int = 0) -> dict[str, Any]:
        vendor = vendor or self._chance.choice(VENDORS)
        return {
            "vendor": vendor,
            # Two vendors use the same ids.
            "transaction": f"t-{next(self._numbers[vendor])}",
            "user": user or self._chance.choice(RICH),
            "points": points or self._chance.randint(1, 50),
        }

    def _without_points(self, one: Mapping[str, Any]) -> dict[str, Any]:
        return {**one, "points": None}

    def _named(self, one: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one[name] for name in ("vendor", "transaction", "user")}

    async def _end(self, process: str, operation: str, one: Mapping[str, Any]) -> None:
        asked = one if operation == "commit" else self._named(one)
        await self._ask(process, operation, asked)

    async def _insist(self, process: str, operation: str, asked: Mapping[str, Any]) -> Call:
        """With one Idempotency-Key, until there is an answer or patience ends; sometimes once more than is needed."""
        key = f"k-{next(self._keys)}" if self._chance.random() < 0.7 else ""
        call = await self._ask(process, operation, asked, key)
        for _ in range(3):
            if call.outcome != "info" or self._stopped:
                break
            call = await self._ask(process, operation, asked, key)
        if key and self._chance.random() < 0.1:
            await self._ask(process, operation, asked, key)
        return call

    async def _ask(self, process: str, operation: str, asked: Mapping[str, Any], key: str = "") -> Call:
        """One call of a vendor."""
        call = self._recorder.begin(process, operation, {**asked, "key": key})
        headers = {"X-Request-Id": f"call-{call.number}"} | ({"Idempotency-Key": key} if key else {})
        if operation == "look_up":
            path, body, method = f"/eai/v1/points/{call.transaction}", None, "GET"
        else:
            path, body, method = f"/eai/v1/points?{operation}", _body_of(call), "POST"
        self._recorder.end(call, await self._send(call.vendor, method, path, body, headers))
        if call.outcome == "info" and not self._stopped:
            await asyncio.sleep(PAUSE_SECONDS)
        return call

    async def _post(self, process: str, operation: str, asked: Mapping[str, Any]) -> Call:
        """One call of the platform."""
        call = self._recorder.begin(process, operation, asked)
        body = {"points": call.points, "reference": call.reference, "reason": "because"}
        headers = {"X-Request-Id": f"call-{call.number}"}
        path = f"/v1/accounts/{call.user}/{operation}s"
        self._recorder.end(call, await self._send("platform", "POST", path, body, headers))
        return call

    async def _send(
        self, who: str, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> Answer | None:
        """To one of the two ledgers; None where no answer came."""
        port = self._chance.choice(self._ports)
        idle = self._idle.setdefault((port, who), [])
        own = self._credentials.platform if who == "platform" else self._credentials.vendors[who]
        line = idle.pop() if idle else Line(port, own)
        answer = await line.ask(method, path, body, headers=headers, timeout_seconds=TIMEOUT_SECONDS)
        idle.append(line)
        return answer

    async def _follow(self) -> None:
        """Reads the events as they come."""
        after = ""
        while self._reads and not self._stopped:
            answer = await self._send("platform", "GET", f"/events/v1/points?limit=500{after}", None, {})
            if answer is None or answer.status != 200:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.followed += [event["id"] for event in answer.body["events"]]
            after = f"&after={answer.body['next_after']}"
            if not answer.body["events"]:
                await asyncio.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        for idle in self._idle.values():
            for line in idle:
                line.close()


def _body_of(call: Call) -> dict[str, Any]:
    body: dict[str, Any] = {"userid": call.user, "transactionid": call.transaction}
    if call.operation == "commit":
        return body | {"pointstodeduct": call.points, "description": "a mug"}
    if call.operation == "confirm" and call.points is not None:
        return body | {"pointstodeduct": call.points}
    if call.operation == "refund":
        return body | {"refundid": call.reference, "points": call.points}
    return body
