"""The whole platform as `make run` starts it, in a process of its own, and how tests see into it."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import psutil
from local_platform import services
from local_platform.forms import hidden_fields
from local_platform.ports import Ports, busy_ports

REPOSITORY = Path(__file__).resolve().parents[1]
#: Far longer than anything here takes on a busy machine: what is waited for is a condition, not this.
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.05
SERVICES = tuple(service.name for service in services.SERVICES)
#: Settings of services that a developer's shell may hold would reach the platform that is tested.
PREFIXES = (*(service.prefix for service in services.SERVICES), "SHOP_", "GATEWAY_")


@dataclass(frozen=True)
class Customer:
    """Somebody with an account of their own, so that no test disturbs another's balance."""

    user_id: str
    email: str
    password: str
    firstname: str
    points: int


class RunningPlatform:
    """One platform on ports and in a directory of its own.

    `description` is what its `demo.json` says; `output` collects what the terminal would show.
    """

    def __init__(self, state: Path, ports: Ports) -> None:
        self.state = state
        self.ports = ports
        self.output = state.with_name(f"{state.name}.output")
        self.description: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def demo_json(self) -> Path:
        return self.state / "demo.json"

    @property
    def gateway(self) -> str:
        return str(self.description["gateway"])

    @property
    def shop(self) -> str:
        """As browsers know it: the platform names it so in its redirects."""
        return f"http://localhost:{self.ports.rewards_shop}"

    @property
    def stand_in(self) -> str:
        """An origin that the tenant allows its front ends to have."""
        return f"http://localhost:{self.ports.stand_in}"

    def start(self) -> None:
        """Returns when `demo.json` says that all is ready."""
        self.launch()
        until(lambda: self.demo_json.exists() or not self.is_running, "demo.json to be there")
        assert self.is_running, self.output.read_text()
        self.description = json.loads(self.demo_json.read_text())

    def launch(self) -> None:
        """Starts it and returns at once."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                run_command(), env=environment_of(self.state, self.ports), stdout=output, stderr=output
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """As Ctrl-C does it; answers with the exit code."""
        self.signal(signal.SIGINT)
        return self.wait()

    def processes(self) -> list[psutil.Process]:
        """Everything that it runs, itself not among them."""
        assert self._process is not None
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def process_of(self, name: str) -> psutil.Process:
        """The process of a program, named as its log is."""
        module = name.replace("-", "_")
        words = {"gateway": "caddy", "postgresql": str(self.state / "postgresql")}
        for process in self._children():
            try:
                command = process.cmdline()
            except psutil.NoSuchProcess:
                # Some programs run for a moment only.
                continue
            if words[name] in " ".join(command) if name in words else command[1:4] == ["-m", module, "serve"]:
                return process
        raise LookupError(f"{name} does not run")

    def _children(self) -> list[psutil.Process]:
        assert self._process is not None
        return list(psutil.Process(self._process.pid).children())

    def auth(self, role: str, tenant: str = "demo") -> tuple[str, str]:
        """What a client of `demo.json` calls with (Basic)."""
        client = self.tenant(tenant)["clients"][role]
        return client["client_id"], client["client_secret"]

    def tenant(self, tenant: str) -> Mapping[str, Any]:
        return self.description if tenant == "demo" else self.description["other_tenant"]

    def log(self, name: str) -> str:
        return (self.state / "logs" / f"{name}.log").read_text(errors="replace")

    async def new_customer(self, http: httpx.AsyncClient, points: int, firstname: str = "Erika") -> Customer:
        """Registered, with an account that holds `points`; through the platform's real interfaces."""
        user_id = f"customer-{secrets.token_hex(6)}"
        customer = Customer(user_id, f"{user_id}@example.com", secrets.token_urlsafe(18), firstname, points)
        auth = self.auth("platform")
        profile = {"email": customer.email, "firstname": firstname, "lastname": "Muster", "password": customer.password}
        for answer in (
            await http.put(f"/v1/users/{user_id}", auth=auth, json=profile),
            await http.put(f"/v1/accounts/{user_id}", auth=auth),
            await http.post(
                f"/v1/accounts/{user_id}/credits",
                auth=auth,
                json={"points": points, "reference": "opening", "reason": "a test"},
            ),
        ):
            assert answer.status_code == 201, answer.text
        return customer

    async def link(self, register_code: str) -> str:
        """Somebody new follows a partner's link and registers; returns the user id that came to the landing page."""
        path = f"/registrieren/?{urlencode({'registerCode': register_code})}"
        async with httpx.AsyncClient(base_url=self.gateway, timeout=60.0, trust_env=False) as http:
            page = await http.get(path, headers={"Accept": "text/html"})
            fields = hidden_fields(page.text) | {
                "email": f"linked-{secrets.token_hex(6)}@example.com",
                "password": secrets.token_urlsafe(18),
                "firstname": "Nora",
                "lastname": "Muster",
                "accept_terms": "yes",
                "accept_privacy": "yes",
            }
            answer = await http.post(path, data=fields, headers={"Accept": "text/html"})
        assert answer.status_code == 303, answer.text
        (user_id,) = parse_qs(urlsplit(answer.headers["location"]).query)["userId"]
        return user_id

    async def balance(self, http: httpx.AsyncClient, user_id: str) -> tuple[int, int]:
        """Available and held points."""
        answer = await http.get(f"/v1/accounts/{user_id}", auth=self.auth("platform"))
        assert answer.status_code == 200, answer.text
        account = answer.json()
        assert account["total"] == account["available"] + account["held"]
        return account["available"], account["held"]


def run_command(command: str = "run") -> list[str]:
    return [sys.executable, "-m", "local_platform", command]


def environment_of(state: Path, ports: Ports) -> dict[str, str]:
    """What `make` hands over; MAKELEVEL makes the platform end with us, however we end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
    return {**inherited, "PORT_BASE": str(ports.base), "STATE_DIR": str(state), "MAKELEVEL": "1"}


def free_ports() -> Ports:
    """Ports for a platform of which none is taken at this moment, below those that connections are given."""
    for _ in range(200):
        ports = Ports(SystemRandom().randrange(20_000, 31_000, 50))
        if not busy_ports(ports.all()):
            return ports
    raise AssertionError("there are no free ports on this machine")


def until(holds: Callable[[], bool], what: str) -> None:
    """Waits for a condition.

    Raises:
        AssertionError: it did not come, for far longer than it may take.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited for {what} for {PATIENCE_SECONDS:.0f} s"
        time.sleep(POLL_SECONDS)


@contextmanager
def platform_of_its_own() -> Iterator[RunningPlatform]:
    """Ready, with the demonstration's people in it; gone afterwards.

    Not below pytest's own directory: another session of pytest that begins meanwhile closes that to everybody but its
    owner, and PostgreSQL, which is not root, opens files by their whole path now and then.
    """
    with TemporaryDirectory(prefix="points-platform-") as directory:
        platform = RunningPlatform(Path(directory) / "state", free_ports())
        try:
            platform.start()
            yield platform
        finally:
            if platform.is_running:
                platform.stop()
