"""Makes trouble for the platform in containers while it works, and sees whether it heals and whether anything is lost.

    .venv/bin/python deploy/containers/trouble.py            as root: it kills processes of containers; some six minutes

Each service, the database and the gateway are killed (kill -9), paused, and cut off from every network, one after the
other, while shoppers order through the gateway and `make demo` is played again and again. Orders are retried as a
well-behaved vendor does it. At the end every order must stand once, every balance must be right, the ledger must
agree with itself, and the demonstration must come out. Ends with 1 if anything does not.
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from local_platform.containers import state_of_containers
from local_platform.gateway import REPOSITORY, transport_to

VICTIMS = ("points-ledger", "sso-issuer", "partner-onboarding", "token-service", "postgres", "gateway")
SHOPPERS, PRICE, CREDIT = 4, 3, 1_000_000
TROUBLE_SECONDS, CALM_SECONDS, PATIENCE_SECONDS = 6.0, 3.0, 120.0


class WrongOutcome(Exception):
    """The platform did not heal, or something came out wrong; the message says what."""


@dataclass
class Counts:
    orders: int = 0
    retries: int = 0
    journeys: int = 0
    journeys_cut_short: int = 0


@dataclass
class Platform:
    """What `demo.json` and `compose.env` tell of the platform that runs."""

    state: Path
    told: dict[str, Any]
    variables: dict[str, str]
    counts: Counts = field(default_factory=Counts)

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.told["gateway"], transport=transport_to(self.told), timeout=20, trust_env=False
        )

    def auth(self, role: str) -> tuple[str, str]:
        client = self.told["clients"][role]
        return client["client_id"], client["client_secret"]

    def container(self, service: str) -> str:
        project = self.variables["COMPOSE_PROJECT_NAME"]
        of = [f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}"]
        return docker("ps", "--quiet", *(word for each in of for word in ("--filter", each))).split()[0]


def docker(*arguments: str) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - as written here


async def killed(platform: Platform, victim: str) -> None:
    """As a crash: not by `docker kill`, after which Docker believes that it is meant to stay down."""
    pid = int(docker("inspect", "--format", "{{.State.Pid}}", platform.container(victim)))
    os.kill(pid, signal.SIGKILL)


async def paused(platform: Platform, victim: str) -> None:
    container = platform.container(victim)
    docker("pause", container)
    await asyncio.sleep(TROUBLE_SECONDS)
    docker("unpause", container)


async def disconnected(platform: Platform, victim: str) -> None:
    container = platform.container(victim)
    networks = list(json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container)))
    for network in networks:
        docker("network", "disconnect", network, container)
    await asyncio.sleep(TROUBLE_SECONDS)
    for network in networks:
        docker("network", "connect", "--alias", victim, network, container)


TROUBLES: tuple[Callable[[Platform, str], Awaitable[None]], ...] = (killed, paused, disconnected)


async def shop(platform: Platform, http: httpx.AsyncClient, user_id: str, stop: asyncio.Event) -> int:
    """Orders one thing after the other until it is time to stop; returns how many. Each is carried through."""
    orders = 0
    while not stop.is_set():
        order = {"userid": user_id, "transactionid": f"trouble-{secrets.token_hex(8)}"}
        hold = {**order, "pointstodeduct": PRICE, "description": "in troubled times"}
        await settled(platform, http, "commit", hold, {"held", "confirmed"})
        await settled(platform, http, "confirm", order, {"confirmed"})
        orders += 1
        platform.counts.orders += 1
    return orders


async def settled(
    platform: Platform, http: httpx.AsyncClient, operation: str, body: dict[str, Any], wanted: set[str]
) -> None:
    """Repeats the question until it is answered; a refusal that is no repeat is a failure of the platform."""
    since = time.monotonic()
    while True:
        try:
            answer = await http.post(f"/eai/v1/points?{operation}", json=body, auth=platform.auth("vendor"))
        except httpx.TransportError:
            pass
        else:
            if answer.status_code in {200, 409}:
                if answer.json().get("state") not in wanted:
                    raise WrongOutcome(f"{operation} {body}: {answer.status_code} {answer.text}")
                return
            if answer.status_code < 500:
                raise WrongOutcome(f"{operation} {body}: {answer.status_code} {answer.text}")
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise WrongOutcome(f"{operation} {body}: no answer in {PATIENCE_SECONDS:.0f} s")
        platform.counts.retries += 1
        await asyncio.sleep(0.2)


async def demonstrate(platform: Platform, stop: asyncio.Event) -> None:
    """Plays the demonstration again and again; trouble may cut one short, but never make a number wrong."""
    while not stop.is_set():
        code, said = await demo(platform)
        platform.counts.journeys += 1
        if code != 0:
            platform.counts.journeys_cut_short += 1
            last = said.strip().splitlines()[-1]
            if not any(sign in last for sign in ("503", "no answer", "gave no", "502", "504")):
                raise WrongOutcome(f"the demonstration came out differently: {last}")


async def demo(platform: Platform) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local_platform", "demo"),
        cwd=REPOSITORY,
        env={**os.environ, "STATE_DIR": str(platform.state.parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def healed(platform: Platform, http: httpx.AsyncClient) -> float:
    """Seconds until every service answers again, over its database and its neighbours."""
    since = time.monotonic()
    for path, role in (
        (f"/v1/accounts/{platform.told['users'][0]['user_id']}", "platform"),
        (f"/v1/users/{platform.told['users'][0]['user_id']}", "platform"),
        ("/sso/v1/issuances", "platform"),
        ("/v1/campaigns", "campaign"),
    ):
        while True:
            try:
                if (await http.get(path, auth=platform.auth(role))).status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                pass
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise WrongOutcome(f"{path} does not answer after {PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(0.1)
    return time.monotonic() - since


async def new_customer(platform: Platform, http: httpx.AsyncClient) -> str:
    user_id, auth = f"trouble-{secrets.token_hex(6)}", platform.auth("platform")
    (await http.put(f"/v1/accounts/{user_id}", auth=auth)).raise_for_status()
    credit = {"points": CREDIT, "reference": "opening", "reason": "for a test"}
    (await http.post(f"/v1/accounts/{user_id}/credits", json=credit, auth=auth)).raise_for_status()
    return user_id


async def entries(platform: Platform, http: httpx.AsyncClient, user_id: str) -> list[int]:
    points, query = [], {"limit": "100"}
    while True:
        path = f"/v1/accounts/{user_id}/entries"
        page = (await http.get(path, params=query, auth=platform.auth("platform"))).json()
        points += [entry["points"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            return points
        query["cursor"] = page["next_cursor"]


async def make_trouble(platform: Platform) -> None:
    stop = asyncio.Event()
    async with platform.http() as http:
        customers = [await new_customer(platform, http) for _ in range(2)]
        shoppers = [asyncio.create_task(shop(platform, http, customers[n % 2], stop)) for n in range(SHOPPERS)]
        demonstrating = asyncio.create_task(demonstrate(platform, stop))
        for victim in VICTIMS:
            for trouble in TROUBLES:
                await asyncio.sleep(CALM_SECONDS)
                before = platform.counts.orders
                began = time.monotonic()
                await trouble(platform, victim)
                lasted = time.monotonic() - began
                seconds = await healed(platform, http)
                done = platform.counts.orders - before
                print(f"{victim:20} {trouble.__name__:13} {lasted:5.1f} s   all well after {seconds:5.1f} s", end="")
                print(f"   {done:5} orders meanwhile", flush=True)
                for task in (*shoppers, demonstrating):
                    if task.done():
                        task.result()
        await asyncio.sleep(CALM_SECONDS)
        stop.set()
        per_shopper = await asyncio.gather(*shoppers)
        await demonstrating
        for number, user_id in enumerate(customers):
            orders = sum(count for n, count in enumerate(per_shopper) if n % 2 == number)
            kept = await entries(platform, http, user_id)
            must(sorted(kept) == [-PRICE] * orders + [CREDIT], f"{user_id}: {len(kept)} entries of {orders} orders")
            account = (await http.get(f"/v1/accounts/{user_id}", auth=platform.auth("platform"))).json()
            must((account["available"], account["held"]) == (CREDIT - PRICE * orders, 0), f"{account}")
    verified = docker("exec", platform.container("points-ledger"), "python", "-m", "points_ledger", "verify")
    code, said = await demo(platform)
    must(code == 0, said)
    counts = platform.counts
    print(f"{counts.orders} orders, each there once; {counts.retries} questions were repeated on the way")
    print(f"{counts.journeys} demonstrations, {counts.journeys_cut_short} cut short, none with a wrong number")
    print(verified.strip())


def must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongOutcome(otherwise)


def read_variables(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        name, _, value = line.partition("=")
        yield name, value


def main() -> None:
    state = state_of_containers(Path(os.environ.get("STATE_DIR", ".run")).absolute())
    told = json.loads(state.demo_json.read_text())
    platform = Platform(state.path, told, dict(read_variables(state.path / "compose.env")))
    try:
        asyncio.run(make_trouble(platform))
    except WrongOutcome as outcome:
        sys.exit(f"trouble: {outcome}")


if __name__ == "__main__":
    main()
