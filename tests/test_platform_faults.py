"""Programs die, hang and come back under load; what was acknowledged stays, once, and nobody has to help."""

import asyncio
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from local_platform.ports import Ports, busy_ports

from .running_platform import (
    PATIENCE_SECONDS,
    POLL_SECONDS,
    REPOSITORY,
    Customer,
    RunningPlatform,
    environment_of,
    free_ports,
    run_command,
    until,
)

#: Within so many seconds a revoked secret stops working (the contract's bound), so no credentials are
#: remembered unasked for longer.
REMEMBERED_SECONDS = 5
SHOPPERS = 6
ORDERS = 25
PRICE = 7


@dataclass
class Order:
    """What a shop knows of one of its orders. `told` are the states that it got an answer about."""

    user_id: str
    transaction_id: str
    told: str = ""


@pytest.mark.parametrize("victim", ["points-ledger", "postgresql", "gateway"])
async def test_killed_in_the_middle_of_orders_nothing_is_lost_and_nothing_done_twice(
    platform: RunningPlatform, http: httpx.AsyncClient, victim: str
) -> None:
    begun_at = datetime.now(UTC)
    customers = [await platform.new_customer(http, 10_000) for _ in range(2)]
    lines = [_orders(customers[number % 2]) for number in range(SHOPPERS)]
    orders = [order for line in lines for order in line]
    process = platform.process_of(victim)
    is_killed = asyncio.Event()

    def kill_amid() -> None:
        if not is_killed.is_set() and sum(order.told != "" for order in orders) > len(orders) // 4:
            process.kill()
            is_killed.set()

    await asyncio.gather(*(_shop(platform, http, line, kill_amid) for line in lines))
    # Not by what the shops have noticed: a database that is back soon enough is no trouble to them.
    assert is_killed.is_set()
    await _until_answered(platform, http, customers[0])
    assert platform.process_of(victim).pid != process.pid

    found = await _transactions(platform, http, begun_at)
    for order in orders:
        if order.told:
            assert order.transaction_id in found, f"{order} is lost"
            assert found[order.transaction_id]["state"] in {"confirmed", order.told}
    for line in lines:
        assert await _shop(platform, http, line) == []
    found = await _transactions(platform, http, begun_at)
    for order in orders:
        kept = found[order.transaction_id]
        assert (kept["state"], kept["pointsdeducted"], kept["userid"]) == ("confirmed", PRICE, order.user_id)
    for customer in customers:
        spent = sum(order.user_id == customer.user_id for order in orders)
        assert await platform.balance(http, customer.user_id) == (10_000 - PRICE * spent, 0)
        assert await _statement(platform, http, customer) == [-PRICE] * spent + [10_000]
    verified = await asyncio.to_thread(_verify_ledger, platform)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "every account agrees with its entries" in verified.stdout
    assert platform.is_running


def _orders(customer: Customer) -> list[Order]:
    return [Order(customer.user_id, f"order-{secrets.token_hex(8)}") for _ in range(ORDERS)]


async def _shop(
    platform: RunningPlatform, http: httpx.AsyncClient, orders: list[Order], heard: Callable[[], None] = lambda: None
) -> list[str]:
    """Commits and confirms each order, as often as it is called; answers with what went wrong on the way.

    Every second order comes with an Idempotency-Key, so that a repetition of it is told the first answer.
    """
    troubles: list[str] = []
    for number, order in enumerate(orders):
        commit = {"pointstodeduct": PRICE, "description": "a test"}
        for operation, state, body in (("commit", "held", commit), ("confirm", "confirmed", {})):
            headers = {"Idempotency-Key": f'"{order.transaction_id}-{operation}"'} if number % 2 else {}
            try:
                answer = await http.post(
                    f"/eai/v1/points?{operation}",
                    auth=platform.auth("vendor"),
                    json={"userid": order.user_id, "transactionid": order.transaction_id, **body},
                    headers=headers,
                )
            except httpx.TransportError as error:
                troubles.append(type(error).__name__)
                break
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
                assert answer.json()["status"] == "failed"
                troubles.append("503")
                break
            told = answer.json()
            is_repeated = not number % 2 and answer.status_code == 409
            assert answer.status_code == 200 or (is_repeated and told["state"] == "confirmed"), answer.text
            order.told = max(order.told, told["state"], key=["", "held", "confirmed"].index)
            assert is_repeated or told["state"] == state
            heard()
    return troubles


async def _until_answered(platform: RunningPlatform, http: httpx.AsyncClient, customer: Customer) -> None:
    """Until the platform has mended itself: each service answers, over its database and its neighbours."""
    for path, role in (
        (f"/v1/accounts/{customer.user_id}", "platform"),
        (f"/v1/users/{customer.user_id}", "platform"),
        ("/sso/v1/issuances", "platform"),
        ("/v1/campaigns/none/stats", "campaign"),
    ):
        await _answered(partial(http.get, path, auth=platform.auth(role)))


async def _answered(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """What comes when it is no longer a 503."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = await call()
        except httpx.TransportError:
            await asyncio.sleep(POLL_SECONDS)
            continue
        if answer.status_code < 500:
            return answer
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"no answer in {PATIENCE_SECONDS:.0f} s")


async def _transactions(
    platform: RunningPlatform, http: httpx.AsyncClient, since: datetime
) -> dict[str, dict[str, Any]]:
    """All of the vendor's transactions since then, as it reads them to reconcile its books."""
    found: dict[str, dict[str, Any]] = {}
    query: dict[str, str | int] = {"since": since.isoformat(timespec="milliseconds"), "limit": 100}
    while True:
        answer = await http.get("/eai/v1/points", params=query, auth=platform.auth("vendor"))
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found |= {transaction["transactionid"]: transaction for transaction in page["transactions"]}
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def _statement(platform: RunningPlatform, http: httpx.AsyncClient, customer: Customer) -> list[int]:
    """The points of all entries, newest first."""
    points: list[int] = []
    query: dict[str, str | int] = {"limit": 100}
    while True:
        path = f"/v1/accounts/{customer.user_id}/entries"
        page = (await http.get(path, params=query, auth=platform.auth("platform"))).json()
        points += [entry["points"] for entry in page["entries"]]
        if page["next_cursor"] is None:
            return points
        query["cursor"] = page["next_cursor"]


def _verify_ledger(platform: RunningPlatform) -> subprocess.CompletedProcess[str]:
    """`python -m points_ledger verify`, in the environment of the service that runs."""
    environment = platform.process_of("points-ledger").environ()
    command = [sys.executable, "-m", "points_ledger", "verify"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def _frozen(process: psutil.Process) -> Iterator[None]:
    """The process hangs: its connections stay open and nothing is answered."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


async def test_a_register_that_hangs_does_not_stop_the_ledger_for_known_callers(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    customer = await platform.new_customer(http, 1000)
    path, vendor = "/eai/v1/points?limit=1", platform.auth("vendor")
    assert (await http.get(path, auth=vendor)).status_code == 200
    spent = 0
    with _frozen(platform.process_of("partner-onboarding")):
        begun = time.monotonic()
        # Until everything that is remembered must have been asked for again, if it could be.
        while time.monotonic() - begun < REMEMBERED_SECONDS or spent == 0:
            assert (await http.get(path, auth=vendor)).status_code == 200
            body = {"userid": customer.user_id, "transactionid": secrets.token_hex(8)}
            commit = await http.post(
                "/eai/v1/points?commit", auth=vendor, json=body | {"pointstodeduct": 1, "description": "x"}
            )
            confirm = await http.post("/eai/v1/points?confirm", auth=vendor, json=body)
            assert (commit.status_code, confirm.status_code) == (200, 200), commit.text + confirm.text
            spent += 1
        stranger = await http.get(path, auth=("stranger", "secret"))
        assert stranger.status_code == 503
        assert stranger.headers["retry-after"]
    assert await platform.balance(http, customer.user_id) == (1000 - spent, 0)
    stranger = await _answered(lambda: http.get(path, auth=("stranger", "secret")))
    assert stranger.status_code == 401


async def test_while_the_ledger_hangs_nobody_guesses_a_balance(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    customer = await platform.new_customer(http, 1000)
    order = {"user_id": customer.user_id, "vendor_id": "rewards-shop"}
    session = await _signed_in(platform, customer)
    with _frozen(platform.process_of("points-ledger")):
        answer = await http.post("/sso/v1/redirects", auth=platform.auth("platform"), json=order)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "token" not in answer.json()
        account = await http.get("/account", headers=session | {"Accept-Language": "en"})
        assert account.status_code == 200
        assert "We cannot look up your balance at the moment." in account.text
        pressed = await http.post("/sso/v1/redeem/rewards-shop", headers=session | {"Accept": "text/html"})
        assert pressed.status_code == 503
        assert "Nothing was lost" in pressed.text
    await _until_answered(platform, http, customer)
    query = {"user_id": customer.user_id}
    issued = await http.get("/sso/v1/issuances", params=query, auth=platform.auth("platform"))
    assert issued.json()["issuances"] == []
    issued_now = await _answered(partial(http.post, "/sso/v1/redirects", auth=platform.auth("platform"), json=order))
    assert issued_now.status_code == 201


async def _signed_in(platform: RunningPlatform, customer: Customer) -> dict[str, str]:
    """The cookies of somebody who has signed in, as a header."""
    async with httpx.AsyncClient(base_url=platform.gateway, trust_env=False) as client:
        page = (await client.get("/login")).text
        fields = {"email": customer.email, "password": customer.password}
        for part in page.split('type="hidden"')[1:]:
            name, value = part.split('name="', 1)[1].split('"', 1)[0], part.split('value="', 1)[1].split('"', 1)[0]
            fields[name] = value
        answer = await client.post("/login", data=fields)
        assert answer.status_code == 303, answer.text
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}


async def test_a_revoked_secret_stops_working_everywhere_within_five_seconds(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    operator, user = platform.auth("operator"), platform.description["users"][0]["user_id"]
    scopes = ["points:read", "users:read", "sso:admin", "tokens:stats"]
    made = await http.post("/v1/clients", auth=operator, json={"name": "Short-lived", "scopes": scopes})
    assert made.status_code == 201, made.text
    client = made.json()
    auth = (client["client_id"], client["client_secret"])
    token = {"base_url": "https://campaign.example", "customer_id": "c", "campaign_id": "revoked", "duration": 60}
    assert (await http.post("/v1/tokens", auth=platform.auth("campaign"), json=token)).status_code == 201
    paths = (f"/v1/accounts/{user}", f"/v1/users/{user}", "/sso/v1/issuances", "/v1/campaigns/revoked/stats")
    for path in paths:
        assert (await http.get(path, auth=auth)).status_code == 200, path
    (secret,) = client["secrets"]
    revoked = await http.delete(f"/v1/clients/{client['client_id']}/secrets/{secret['n']}", auth=operator)
    assert revoked.status_code == 204
    open_paths, since = set(paths), _date(revoked)
    while open_paths:
        for path in sorted(open_paths):
            answer = await http.get(path, auth=auth)
            if answer.status_code == 401:
                open_paths.remove(path)
            else:
                assert answer.status_code == 200
                # By the platform's own clock, in whole seconds.
                assert _date(answer) - since <= REMEMBERED_SECONDS, f"{path} still lets a revoked secret in"
        await asyncio.sleep(POLL_SECONDS)


def _date(answer: httpx.Response) -> float:
    return parsedate_to_datetime(answer.headers["date"]).timestamp()


async def test_the_demonstration_can_be_made_again_and_again(platform: RunningPlatform) -> None:
    environment = environment_of(platform.state, platform.ports)
    for _ in range(2):
        made = await _finished(run_command("demo"), environment)
        assert made.returncode == 0, made.stdout
        assert "All of it came out as it must." in made.stdout
        for client in platform.description["clients"].values():
            assert client["client_secret"] not in made.stdout


async def test_what_stands_in_the_way_of_a_start_is_said_in_one_line(platform: RunningPlatform, tmp_path: Path) -> None:
    taken = environment_of(platform.state, free_ports())
    busy = environment_of(tmp_path / "state", platform.ports)
    second, third = await asyncio.gather(_finished(run_command(), taken), _finished(run_command(), busy))
    assert (second.returncode, third.returncode) == (1, 1)
    (line,) = second.stdout.splitlines()
    assert line.startswith(f"make run: the platform already runs on {platform.state} (process ")
    waiting, line = third.stdout.splitlines()
    assert f"port {platform.ports.base} is already in use by caddy" in waiting
    assert line.startswith(f"make run: port {platform.ports.base} is already in use by caddy")
    assert line.endswith("make run")
    assert platform.is_running


async def _finished(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=REPOSITORY
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(command, process.returncode, output.decode())


def test_killed_itself_the_platform_leaves_nothing_behind(tmp_path: Path) -> None:
    """Even while it starts, by a signal that it cannot hear."""
    platform = RunningPlatform(tmp_path / "state", free_ports())
    platform.launch()
    until(lambda: len(_alive(platform.processes())) >= 4 or not platform.is_running, "some programs to run")
    processes = platform.processes()
    platform.signal(signal.SIGKILL)
    assert platform.wait() == -signal.SIGKILL
    until(lambda: not _alive(processes), "its programs to end")
    until(lambda: not _taken(platform.ports), "its ports to be free")


async def test_stopped_by_ctrl_c_and_started_again_everything_is_there(
    platform: RunningPlatform, http: httpx.AsyncClient
) -> None:
    """Last of all: it takes the platform of all these tests down, and up again."""
    customer = await platform.new_customer(http, 1234)
    hold = {"userid": customer.user_id, "transactionid": secrets.token_hex(8)}
    commit = hold | {"pointstodeduct": 234, "description": "held over the night"}
    assert (await http.post("/eai/v1/points?commit", auth=platform.auth("vendor"), json=commit)).status_code == 200
    before, processes = platform.description, platform.processes()
    assert len(processes) > 8
    assert platform.stop() == 0
    assert _alive(processes) == []
    assert not platform.demo_json.exists()
    assert not _taken(platform.ports)
    assert "Everything has stopped." in platform.output.read_text()

    platform.start()
    after = platform.description
    for names in (("clients",), ("tenant_admin",), ("operator_user",), ("other_tenant", "clients")):
        assert _member(after, names) == _member(before, names)
    for user in after["users"]:
        assert (await platform.balance(http, user["user_id"]))[0] == user["points"]
        (former,) = [one for one in before["users"] if one["user_id"] == user["user_id"]]
        assert {**former, "points": 0} == {**user, "points": 0}
    assert await platform.balance(http, customer.user_id) == (1000, 234)
    assert (await http.post("/eai/v1/points?confirm", auth=platform.auth("vendor"), json=hold)).status_code == 200
    assert (await _signed_in(platform, customer))["Cookie"]
    assert await platform.balance(http, customer.user_id) == (1000, 0)


def _member(description: object, names: tuple[str, ...]) -> object:
    for name in names:
        assert isinstance(description, dict)
        description = description[name]
    return description


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if _is_alive(one)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        # It ended between the two questions.
        return False


def _taken(ports: Ports) -> bool:
    return bool(busy_ports(ports.all()))
