"""The ledger at a fixed rate, half of what it can do: how long a request takes from the moment when it was due.

A client that waits for an answer before it sends the next request leaves out just those that would have waited longest
(coordinated omission). Here a timetable says when each request is due, and waits for no answer.
"""

import asyncio
import json
import random
import secrets
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from local_platform.embedded_postgres import EmbeddedPostgres, in_own_loop
from platform_testing.callers import basic
from shared.migrating import upgrade

from benchmarks.ledger import ACCOUNTS, CLIENT_ID, fill_ledger, ledger_process
from benchmarks.load import put_load
from benchmarks.report import Table
from benchmarks.rounds import Say

#: More than are ever under way at half load, so that a request that is due finds a free one.
_CONNECTIONS = 256
_PERCENTILES = (50, 99, 99.9)


def run(*, seconds: float, rounds: int, say: Say) -> Table:
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory, ExitStack() as stack:
        postgres = EmbeddedPostgres(Path(directory) / "postgres")
        postgres.start()
        stack.callback(postgres.stop)
        password = secrets.token_urlsafe(16)
        postgres.create_role_and_database("points_ledger", password)
        database = postgres.url("points_ledger", "points_ledger", password)
        upgrade(database, "points_ledger")
        say("filling 100,000 accounts")
        in_own_loop(fill_ledger(database))
        url = stack.enter_context(ledger_process(database, Path(directory)))
        headers = basic(CLIENT_ID, secrets.token_urlsafe(32))
        measured = []
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}: as much as it can")
            arguments = (str(ACCOUNTS), secrets.token_hex(4))
            full = put_load(url, "commit_confirm.lua", seconds=seconds, headers=headers, arguments=arguments)
            say(f"round {number} of {rounds}: half of that")
            measured.append(in_own_loop(_Drive(url, headers, full.requests_per_second / 2).go(5 * seconds)))
    return _table(measured)


@dataclass(slots=True)
class _Took:
    """What came of a run; seconds of each request."""

    rate: float
    since_due: list[float] = field(default_factory=list)
    since_sent: list[float] = field(default_factory=list)
    failures: int = 0


def _table(measured: Sequence[_Took]) -> Table:
    def figures(name: str) -> list[str]:
        runs: list[list[float]] = [getattr(took, name) for took in measured]
        return [f"{median(_percentile(run, percent) for run in runs) * 1000:.1f}" for percent in _PERCENTILES]

    rate = f"{median(took.rate for took in measured):,.0f}"
    failures = str(sum(took.failures for took in measured))
    return Table(
        "Commit and confirm at a fixed rate, half of what the process can do",
        ("", "requests/s", *(f"p{percent:g} ms" for percent in _PERCENTILES), "failures"),
        [
            ("since a request was due", rate, *figures("since_due"), failures),
            ("since it was sent, which leaves out the waiting", rate, *figures("since_sent"), failures),
        ],
    )


def _percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class _Drive:
    """One run."""

    def __init__(self, url: str, headers: Mapping[str, str], rate: float) -> None:
        self._address = urlsplit(url)
        lines = [f"Host: {self._address.netloc}", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._head = "\r\n".join(lines)
        self._took = _Took(rate)
        self._word = secrets.token_hex(4)
        self._committed: deque[tuple[str, str]] = deque()

    async def go(self, seconds: float) -> _Took:
        timetable = self._timetable(time.perf_counter() + 0.5, round(seconds * self._took.rate))
        await asyncio.gather(*(self._serve(timetable) for _ in range(_CONNECTIONS)))
        return self._took

    def _timetable(self, begin: float, requests: int) -> Iterator[tuple[int, float]]:
        """Number of a request, and when it is due."""
        for number in range(requests):
            yield number, begin + number / self._took.rate

    async def _serve(self, timetable: Iterator[tuple[int, float]]) -> None:
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        try:
            for number, due in timetable:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                sent = time.perf_counter()
                is_good = await self._ask(reader, writer, number)
                done = time.perf_counter()
                self._took.since_due.append(done - due)
                self._took.since_sent.append(done - sent)
                self._took.failures += not is_good
        finally:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        """Commits, or by turns confirms what was committed; whether the answer was 200."""
        named: tuple[str, str] | None = None
        body: dict[str, str | int]
        if number % 2 and self._committed:
            user, transaction = self._committed.popleft()
            operation, body = "confirm", {"userid": user, "transactionid": transaction}
        else:
            user, transaction = named = f"user-{random.randint(1, ACCOUNTS)}", f"{self._word}-{number}"
            operation, body = "commit", {"userid": user, "transactionid": transaction, "pointstodeduct": 1}
            body["description"] = "redemption for a benchmark"
        content = json.dumps(body)
        head = f"POST /eai/v1/points?{operation} HTTP/1.1\r\n{self._head}\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write((head + content).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in answer.lower().split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        is_good = answer.split(b" ", 2)[1] == b"200"
        if is_good and named is not None:
            self._committed.append(named)
        return is_good
