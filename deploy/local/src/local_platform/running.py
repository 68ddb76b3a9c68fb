"""`make run`: everything on one machine, from the database to the shop, until somebody stops it."""

import asyncio
import signal
import time
from collections.abc import Coroutine
from typing import Any

from local_platform.commands import Commands, commands
from local_platform.console import Terminal
from local_platform.demonstration import describe, make_demonstration, write_demo_json
from local_platform.developers import build_pages
from local_platform.embedded_postgres import EmbeddedPostgres
from local_platform.environments import Environments
from local_platform.journey import Journey
from local_platform.ports import Ports, busy_ports
from local_platform.processes import Supervisor
from local_platform.programs import Programs
from local_platform.seeding import Seeding
from local_platform.services import SERVICES, Service
from local_platform.state_directory import StateDirectory

LEFTOVERS_SECONDS = 8.0
POLL_SECONDS = 0.2
ROTATE_SECONDS = 30.0


class CannotRun(Exception):
    """Something on this machine prevents the start; the message says what, and what to do."""


class Platform:
    """All programs of one platform, started in the order in which they need each other."""

    def __init__(self, ports: Ports, state: StateDirectory, terminal: Terminal) -> None:
        self._ports = ports
        self._state = state
        self._terminal = terminal
        self._environments = Environments(ports, state)
        self._programs = Programs(ports, state, self._environments)
        self._demonstration = make_demonstration(ports, state)
        self._supervisor = Supervisor(terminal.complain)
        self._postgres = EmbeddedPostgres(state.postgres, ports.postgres, log=state.log("postgresql"))
        self._environment_of: dict[Service, dict[str, str]] = {}
        # For the command `migrate` alone: what serves is not to be able to change the tables.
        self._for_migrations: dict[str, str] = {}

    async def run(self) -> None:
        """Returns after SIGINT or SIGTERM, when everything has been stopped.

        Raises:
            CannotRun, CommandFailed, JourneyFailed, PostgresStartError, ProgramFailed, SeedingFailed: as they say.
        """
        stop = _stop_requested()
        self._state.demo_json.unlink(missing_ok=True)
        rotating = asyncio.create_task(self._rotate_logs())
        try:
            await self._until(stop, self._start())
            self._supervisor.settled()
            await stop.wait()
        finally:
            rotating.cancel()
            self._state.demo_json.unlink(missing_ok=True)
            if self._supervisor.has_started:
                self._terminal.title("Stopping …")
                await self._supervisor.stop()
                self._terminal.say(f"Everything has stopped. The data stay in {self._state.path}.")

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_SECONDS)
            await asyncio.to_thread(self._state.rotate_logs)

    async def _until(self, stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
        """Works until it is done, somebody asks to stop, or a program dies that has been started already."""
        tasks = [asyncio.create_task(each) for each in (work, self._supervisor.failed(), _wait(stop))]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    async def _start(self) -> None:
        begun = time.monotonic()
        await self._wait_for_ports()
        with self._terminal.doing("PostgreSQL, a role and a database for each service"):
            await self._start_databases()
        # Beside the rest: it takes seconds, and only the first time.
        building = asyncio.create_task(build_pages(self._state.developers.absolute(), self._ports.public_url))
        try:
            await self._start_services(building)
        finally:
            building.cancel()
        self._welcome(time.monotonic() - begun)

    async def _start_services(self, building: "asyncio.Task[None]") -> None:
        every = {name: value for each in self._environment_of.values() for name, value in each.items()}
        with self._terminal.doing("Migrations"):
            async with commands(every | self._for_migrations) as migrations:
                for service in SERVICES:
                    await migrations.run(service.package, "migrate")
        async with commands(every) as running_commands:
            with self._terminal.doing("Services: " + ", ".join(service.name for service in SERVICES)):
                await asyncio.gather(*(self._start_service(service) for service in SERVICES))
            with self._terminal.doing("Gateway"):
                await self._supervisor.start(self._programs.gateway())
                await self._supervisor.start(self._programs.stand_in())
            with self._terminal.doing("Pages for developers"):
                await building
            await self._demonstrate(running_commands)

    async def _demonstrate(self, running_commands: Commands) -> None:
        """Seeds, plays the journey once, and then writes `demo.json` with the present points."""
        seeding = Seeding(self._demonstration, self._ports, running_commands)
        with self._terminal.doing("Demonstration: tenants, clients, users, points"):
            await seeding.register()
            points = await seeding.fill()
            secret = await seeding.listen(keeps_secret=self._environments.keeps_shop_webhook_secret)
            if secret is not None:
                self._environments.write_shop_webhook_secret(secret)
        with self._terminal.doing("Rewards shop"):
            await self._supervisor.start(self._programs.shop(self._demonstration.demo.client("vendor")))
        description = describe(self._demonstration, points, self._ports, self._state)
        self._terminal.title("The journey of points, through the real interfaces")
        await Journey(description, self._terminal).make()
        points = await seeding.points()
        write_demo_json(describe(self._demonstration, points, self._ports, self._state), self._state)

    async def _wait_for_ports(self) -> None:
        """A platform that was killed a moment ago may still be on its way out."""
        deadline = time.monotonic() + LEFTOVERS_SECONDS
        waiting = False
        while busy := busy_ports(self._ports.all()):
            shown = "; ".join(str(port) for port in busy[:3]) + (f"; and {len(busy) - 3} more" if busy[3:] else "")
            if time.monotonic() > deadline:
                other = f"PORT_BASE={self._ports.base + 1000} STATE_DIR={self._state.path}-2"
                raise CannotRun(f"{shown}. Stop what is there, or choose other ports, such as: {other} make run")
            if not waiting:
                self._terminal.say(f"{shown}; waiting for {LEFTOVERS_SECONDS:.0f} s in case it is about to end")
            waiting = True
            await asyncio.sleep(POLL_SECONDS)

    async def _start_databases(self) -> None:
        embedded = [service for service in SERVICES if self._environments.needs_embedded_database(service)]
        if embedded:
            await self._supervisor.start(self._programs.database(self._postgres))
        for service in SERVICES:
            url = None
            if service in embedded:
                password = self._environments.database_password(service)
                owner_password = self._environments.owner_password(service)
                self._postgres.create_role_and_database(service.database, password, owner_password=owner_password)
                url = self._postgres.url(service.database, service.database, password)
                owner_url = self._postgres.url(service.database, f"{service.database}_owner", owner_password)
                self._for_migrations[f"{service.prefix}MIGRATION_DATABASE_URL"] = owner_url
            self._environment_of[service] = self._environments.of_service(service, url)

    async def _start_service(self, service: Service) -> None:
        await self._supervisor.start(self._programs.service(service, self._environment_of[service]))

    def _welcome(self, seconds: float) -> None:
        user = self._demonstration.demo.users[0]
        say = self._terminal.say
        self._terminal.title(f"Ready after {seconds:.0f} s: {self._ports.public_url}")
        say(f"  sign in           {self._ports.public_url}/login   {user.email}   {user.password}")
        say(f"  as tenant admin   {self._demonstration.tenant_admin.email}   (password in demo.json)")
        say(f"  as operator       {self._demonstration.operator_user.email}   (password in demo.json)")
        say(f"  build against it  {self._ports.public_url}/developers")
        say(f"  by https          {self._ports.public_tls_url}   (its authority: gateway_ca in demo.json)")
        say(f"  rewards shop      http://localhost:{self._ports.rewards_shop}   (enter it from your account)")
        say(f"  all credentials   {self._state.demo_json}")
        say(f"  logs              {self._state.log('*')}")
        say("  again             make demo           stop: Ctrl-C")


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _stop_requested() -> asyncio.Event:
    stop = asyncio.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(wanted, stop.set)
    return stop
