"""The platform on the cluster: two processes of each service behind one gateway."""

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import partial

from local_platform.commands import commands
from local_platform.demonstration import make_demonstration
from local_platform.environments import Environments
from local_platform.gateway import gateway_command, gateway_environment
from local_platform.processes import Program, Supervisor, answers, launch
from local_platform.roles import create_role_and_database
from local_platform.seeding import Seeding
from local_platform.services import SERVICES, Service, asked_by
from local_platform.state_directory import StateDirectory

from deploy.scale.addresses import PROCESSES, Addresses

#: Eight processes start at once, on a machine that may be busy with other things, too.
PATIENCE_SECONDS = 180.0


class Replicas:
    """The services, over the address of HAProxy that leads to whichever node takes writes."""

    def __init__(self, addresses: Addresses, state: StateDirectory, supervisor: Supervisor) -> None:
        self._addresses, self._state, self._supervisor = addresses, state, supervisor
        self._environments = Environments(addresses.platform, state)
        self._environment_of: dict[Service, dict[str, str]] = {}
        self._for_migrations: dict[str, str] = {}
        self.demonstration = make_demonstration(addresses.platform, state)

    async def make_databases(self, superuser_url: str) -> None:
        """A role and a database for each service, with all its tables."""
        for service in SERVICES:
            password = self._environments.database_password(service)
            owner_password = self._environments.owner_password(service)
            await create_role_and_database(superuser_url, service.database, password, owner_password=owner_password)
            self._environment_of[service] = {
                **self._environments.of_service(service, self._url(service, service.database, password)),
                **{
                    f"{service.prefix}{other.address_variable}": f"http://127.0.0.1:{self._addresses.either(other)}"
                    for other in asked_by(service)
                },
                # Nobody holds the load back.
                f"{service.prefix}REQUESTS_PER_CLIENT": "0",
            }
            owner_url = self._url(service, f"{service.database}_owner", owner_password)
            self._for_migrations[f"{service.prefix}MIGRATION_DATABASE_URL"] = owner_url
        async with commands(self.environment() | self._for_migrations) as migrations:
            for service in SERVICES:
                await migrations.run(service.package, "migrate")

    async def start(self) -> None:
        """Returns when all processes are ready, and the demonstration's tenants, clients and users are there."""
        await asyncio.gather(*(self._supervisor.start(program) for program in self._programs()))
        await self._supervisor.start(self._gateway())
        async with commands(self.environment()) as running_commands:
            seeding = Seeding(self.demonstration, self._addresses.platform, running_commands)
            await seeding.register()
            await seeding.fill()

    def _url(self, service: Service, role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self._addresses.primary}/{service.database}"

    def environment(self) -> dict[str, str]:
        """Of the services' commands."""
        return {name: value for each in self._environment_of.values() for name, value in each.items()}

    def _programs(self) -> Iterator[Program]:
        for service in SERVICES:
            for number in PROCESSES:
                port = self._addresses.process(service, number)
                environment = {**self._environment_of[service], f"{service.prefix}PORT": str(port)}
                command = [sys.executable, "-m", service.package, "serve"]
                ready = f"http://127.0.0.1:{port}/readyz"
                yield self._program(f"{service.name}-{number}", command, environment, ready)

    def _gateway(self) -> Program:
        storage = self._state.gateway.absolute()
        environment = gateway_environment(self._addresses.platform, storage, self._state.developers.absolute())
        environment["GATEWAY_PROCESSES"] = "watched"
        for service in SERVICES:
            both = (f"127.0.0.1:{self._addresses.process(service, number)}" for number in PROCESSES)
            environment[service.gateway_variable] = " ".join(both)
        # It routes no health check of anybody; that it refuses this one shows that it is there.
        closed_door = f"http://127.0.0.1:{self._addresses.platform.gateway}/healthz"
        return self._program("gateway", gateway_command(storage), environment, closed_door, status=404)

    def _program(
        self, name: str, command: list[str], environment: Mapping[str, str], url: str, status: int = 200
    ) -> Program:
        log = self._state.log(name)
        # Nobody needs what they are doing when all of it ends.
        return Program(
            name,
            log,
            partial(launch, command, environment, log),
            answers(url, status),
            stop_signal=signal.SIGKILL,
            start_seconds=PATIENCE_SECONDS,
        )
