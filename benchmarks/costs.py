"""What a request costs: the processor time of each process, for the calls that back ends make most.

The whole platform runs, one process of each service. What it shows goes into `docs/operate/capacity.md`.
"""

import asyncio
import json
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from platform_testing.callers import basic

from benchmarks.load import CONNECTIONS, Load, put_load
from benchmarks.platforms import POSTGRESQL, Platform, make_users, profile_of, running_platform
from benchmarks.processor_time import ProcessorTime
from benchmarks.report import Table
from benchmarks.rounds import Measure, Say, by_turns

USERS: Final = 256
#: More than are answered within a second.
_A_SECOND: Final = 6_000
_BATCH: Final = 1_000
_PROCESSES: Final = ("points-ledger", "sso-issuer", "partner-onboarding", "token-service", POSTGRESQL)


class Call(NamedTuple):
    """A request: method, path, and what is sent as JSON."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


def run(*, seconds: float, rounds: int, say: Say) -> Table:
    """Each call over 32 connections; microseconds of each process."""
    with tempfile.TemporaryDirectory(prefix="points-bench-") as directory:
        say("starting the whole platform")
        with running_platform(Path(directory)) as platform:
            say(f"making {USERS} users with points")
            costs = _Costs(platform, Path(directory))
            measured = by_turns(costs.all(), seconds=seconds, rounds=rounds, say=say)
    rows = [(name, *measured.figures(name), *costs.figures(name)) for name in measured.loads]
    return Table(
        f"Calls of back ends, Basic authentication, one process of each service, {CONNECTIONS} connections; processor"
        " µs a request",
        ("", "requests/s", "p50 ms", "p99 ms", "failures", *_PROCESSES),
        rows,
    )


class _Costs:
    """Every call, and the processor time that it took."""

    def __init__(self, platform: Platform, directory: Path) -> None:
        self._platform = platform
        self._directory = directory
        clients = platform.demo["clients"]
        self._headers = {
            role: basic(clients[role]["client_id"], clients[role]["client_secret"])
            for role in ("platform", "vendor", "campaign")
        }
        self._times = ProcessorTime()

    def all(self) -> dict[str, Measure]:
        users = [f"user-{number}" for number in range(1, USERS + 1)]
        asyncio.run(self._prepare(users))
        tokens = asyncio.run(self._tokens())
        return {
            "EAI commit and confirm": self._accounted("EAI commit and confirm", self._redeem),
            **dict(
                self._measured(*what)
                for what in (
                    ("EAI balance", "points-ledger", "vendor", _each("GET", "/eai/v1/balances/{}", users)),
                    ("an account", "points-ledger", "platform", _each("GET", "/v1/accounts/{}", users)),
                    ("a credit", "points-ledger", "platform", _credit),
                    ("a user", "partner-onboarding", "platform", _each("GET", "/v1/users/{}", users)),
                    ("a new user", "partner-onboarding", "platform", _new_user),
                    ("a user as he is", "partner-onboarding", "platform", [_user(name) for name in users]),
                    ("issue a campaign token", "token-service", "campaign", _token),
                    (
                        "verify a campaign token",
                        "token-service",
                        "campaign",
                        _each("POST", "/v1/tokens/{}/verify", tokens),
                    ),
                )
            ),
        }

    def figures(self, name: str) -> list[str]:
        """The median of each process, to be read."""
        return [self._times.shown(name, process) for process in _PROCESSES]

    def _measured(
        self, name: str, service: str, role: str, calls: Iterable[Call] | Callable[[int], Call]
    ) -> tuple[str, Measure]:
        """Of `calls` each at random, or each made anew and sent once."""

        def load(seconds: float) -> Load:
            is_new = callable(calls)
            wanted = map(calls, range(round(_A_SECOND * seconds))) if callable(calls) else calls
            return put_load(
                self._platform.address(service),
                "requests.lua",
                seconds=seconds,
                headers=self._headers[role],
                arguments=(self._written(wanted), "once" if is_new else "any"),
            )

        return name, self._accounted(name, load)

    def _redeem(self, seconds: float) -> Load:
        return put_load(
            self._platform.address("points-ledger"),
            "commit_confirm.lua",
            seconds=seconds,
            headers=self._headers["vendor"],
            arguments=(str(USERS), secrets.token_hex(4)),
        )

    def _accounted(self, name: str, load: Callable[[float], Load]) -> Measure:
        return lambda seconds: self._times.account(name, load, seconds, self._platform.processor_seconds)

    def _written(self, calls: Iterable[Call]) -> str:
        file = self._directory / f"requests-{secrets.token_hex(4)}"
        with file.open("w") as lines:
            for method, path, body in calls:
                lines.write(f"{method}\t{path}\t{'' if body is None else json.dumps(body)}\n")
        return str(file)

    async def _prepare(self, users: Iterable[str]) -> None:
        async with self._client("platform") as http:
            await make_users(http, users, points=1_000_000)

    async def _tokens(self) -> list[str]:
        async with self._client("campaign") as http:
            _, path, order = _token(0)
            answers = [(await http.post(path, json=order)).raise_for_status() for _ in range(_BATCH)]
        return [answer.json()["token"] for answer in answers]

    def _client(self, role: str) -> httpx.AsyncClient:
        gateway = self._platform.demo["gateway"]
        return httpx.AsyncClient(base_url=gateway, headers=self._headers[role], trust_env=False, timeout=30)


def _each(method: str, path: str, names: Iterable[str]) -> list[Call]:
    return [Call(method, path.format(name)) for name in names]


def _user(name: str) -> Call:
    return Call("PUT", f"/v1/users/{name}", profile_of(name))


def _new_user(_number: int) -> Call:
    return _user(f"new-{secrets.token_hex(6)}")


def _credit(number: int) -> Call:
    credit = {"points": 10, "reference": secrets.token_hex(6), "reason": "a benchmark"}
    return Call("POST", f"/v1/accounts/user-{number % USERS + 1}/credits", credit)


def _token(_number: int) -> Call:
    order = {"base_url": "https://campaign.example", "customer_id": "c", "campaign_id": "costs", "duration": 86_400}
    return Call("POST", "/v1/tokens", order)
