"""`make up` and `make down`: the platform of `docker-compose.yml`, with secrets, users and points of its own.

Everything that it keeps lies below STATE_DIR/containers, apart from what `make run` keeps.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import httpx

from local_platform.commands import commands
from local_platform.compose import Compose, in_container
from local_platform.console import Terminal
from local_platform.demonstration import Demonstration, describe, make_demonstration, write_demo_json
from local_platform.developers import build_pages
from local_platform.environments import OWNERS, Environments
from local_platform.gateway import certificate_authority, transport_to
from local_platform.journey import Journey
from local_platform.ports import Ports
from local_platform.seeding import Seeding
from local_platform.services import SERVICES, SHOP
from local_platform.state_directory import StateDirectory, write_private

#: The user of the containers if root starts them: never root.
UNPRIVILEGED = 10001
#: All profiles of `docker-compose.yml`.
PROFILES = ("demo", "monitoring")
GATEWAY_SECONDS = 30.0
POLL_SECONDS = 0.2


class GatewayDoesNotAnswer(Exception):
    """Everything has started, but https does not answer; the message says what came instead."""


def state_of_containers(state_directory: Path) -> StateDirectory:
    return StateDirectory(state_directory / "containers")


class Containers:
    """One platform in containers."""

    def __init__(self, ports: Ports, state: StateDirectory, terminal: Terminal) -> None:
        self._ports = ports
        self._state = StateDirectory(state.path.absolute())
        self._terminal = terminal
        self._environments = Environments(ports, self._state)
        self._authority = certificate_authority(self._state.gateway)

    async def up(self, further_profiles: Sequence[str]) -> None:
        """Builds and starts all, fills it, and plays the journey of points through the gateway, by https.

        Raises:
            CommandFailed, ComposeFailed, GatewayDoesNotAnswer, JourneyFailed, NoDocker, SeedingFailed: as they say.
        """
        begun = time.monotonic()
        self._state.demo_json.unlink(missing_ok=True)
        self.prepare()
        compose = self._compose(tuple(dict.fromkeys(["demo", *further_profiles])))
        with self._terminal.doing("Pages for developers"):
            await build_pages(self._state.developers, self._ports.public_url)
        with self._terminal.doing("Images: one for each service"):
            compose.run("build")
        with self._terminal.doing("Containers: database, migrations, services, gateway, rewards shop"):
            compose.run("up", "--detach", "--remove-orphans")
            await self._until_the_gateway_answers()
        await self._demonstrate(compose.container_of("partner-onboarding"))
        self._welcome(time.monotonic() - begun, further_profiles)

    def down(self) -> None:
        """Stops and removes all containers. The data stay.

        Raises:
            ComposeFailed, NoDocker: as they say.
        """
        self._state.demo_json.unlink(missing_ok=True)
        if not self._variables.exists():
            self._terminal.say(f"There are no containers of {self._state.path}.")
            return
        with self._terminal.doing("Stopping and removing the containers"):
            self._compose(PROFILES).run("down", "--remove-orphans")
        self._terminal.say(f"The data stay in {self._state.path}.")

    @cached_property
    def _demonstration(self) -> Demonstration:
        return make_demonstration(self._ports, self._state)

    @property
    def _variables(self) -> Path:
        return self._state.path / "compose.env"

    def _compose(self, profiles: Sequence[str]) -> Compose:
        return Compose(self._variables, self._state.log("compose"), profiles)

    def prepare(self) -> None:
        """Secrets, directories, and the variables that `docker-compose.yml` asks for."""
        self._state.prepare()
        # The gateway must be able to read it under any user; Compose would make it root's.
        self._state.developers.mkdir(exist_ok=True, mode=0o755)
        for service in SERVICES:
            password = self._environments.database_password(service)
            name = service.database
            self._environments.write_secrets(service, f"postgresql://{name}:{password}@postgres:5432/{name}")
            owner_password = self._environments.owner_password(service)
            owner_url = f"postgresql://{name}_owner:{owner_password}@postgres:5432/{name}"
            self._environments.write_migration_url(service, owner_url)
        self._environments.write_shop_secrets(self._demonstration.demo.client("vendor").client_secret)
        self._environments.password("postgres", "postgres_password")
        self._environments.password("grafana", "grafana_password")
        write_private(self._state.secrets / "service_peers", self._environments.service_peers())
        self._hand_over()
        write_private(self._variables, "".join(f"{name}={value}\n" for name, value in self._values().items()))

    def _hand_over(self) -> None:
        """Gives all files of containers to their user, if that is not the user who starts them."""
        kept = [self._state.path / name for name in ("authority", "postgresql", "prometheus")]
        for directory in (*kept, self._state.gateway, self._state.shop, self._state.mail):
            directory.mkdir(exist_ok=True, mode=0o700)
            os.chown(directory, *_user())
        read = [service.name for service in SERVICES] + [SHOP, OWNERS, "postgres", "grafana"]
        files = [file for name in read for file in (self._state.secrets / name).iterdir()]
        for file in (*files, self._state.secrets / "service_peers"):
            os.chown(file, *_user())

    def _values(self) -> dict[str, str]:
        ports = self._ports
        user, group = _user()
        own = {
            "COMPOSE_PROJECT_NAME": f"points-{ports.base}",
            "PLATFORM_STATE": str(self._state.path),
            "PLATFORM_USER": f"{user}:{group}",
            "PUBLIC_URL": ports.public_url,
            "PORT_HTTP": str(ports.gateway),
            "PORT_HTTPS": str(ports.gateway_tls),
            "PORT_SHOP": str(ports.rewards_shop),
            "PORT_PARTNER_PAGES": str(ports.stand_in),
            "PORT_GRAFANA": str(ports.grafana),
            # Two platforms side by side differ here as they do in their ports.
            "INSIDE_SUBNET": f"10.213.{ports.base // 256}.0/24",
            "GATEWAY_ADDRESS": f"10.213.{ports.base // 256}.250",
            # Its secrets are a demonstration's, which production refuses.
            "MODE": "development",
        }
        return own | self._given_images()

    def _given_images(self) -> dict[str, str]:
        """Other images than the official ones, where `images.env` names some."""
        given = self._state.path / "images.env"
        lines = given.read_text().splitlines() if given.exists() else []
        return dict(line.split("=", 1) for line in lines if "=" in line)

    async def _until_the_gateway_answers(self) -> None:
        deadline = time.monotonic() + GATEWAY_SECONDS
        while True:
            try:
                trusted = ssl.create_default_context(cafile=self._authority)
                async with httpx.AsyncClient(verify=trusted, timeout=5.0, trust_env=False) as http:
                    # It routes no health check of anybody; that it refuses this one shows that it is there.
                    answer = await http.get(f"{self._ports.public_url}/healthz")
                    if answer.status_code == httpx.codes.NOT_FOUND:
                        return
                    came = str(answer.status_code)
            except (httpx.HTTPError, OSError) as error:
                came = f"{type(error).__name__} {error}"
            if time.monotonic() > deadline:
                raise GatewayDoesNotAnswer(f"{self._ports.public_url} does not answer as it must: {came}")
            await asyncio.sleep(POLL_SECONDS)

    async def _demonstrate(self, onboarding: str) -> None:
        source = Path(__file__).with_name("in_one.py").read_text()
        async with commands({}, in_container(onboarding, "python", "-c", source)) as running_commands:
            seeding = Seeding(self._demonstration, self._ports, running_commands, self._authority)
            with self._terminal.doing("Demonstration: tenants, clients, users, points"):
                await seeding.register()
                points = await seeding.fill()
            description = describe(self._demonstration, points, self._ports, self._state)
            self._terminal.title(f"The journey of points, through {self._ports.public_url}")
            await Journey(description, self._terminal, transport_to(description)).make()
            points = await seeding.points()
        description = describe(self._demonstration, points, self._ports, self._state)
        # Nothing but the gateway and the shop can be reached from outside.
        description["services"] = {SHOP: description["services"][SHOP]}
        write_demo_json(description, self._state)

    def _welcome(self, seconds: float, further_profiles: Sequence[str]) -> None:
        user = self._demonstration.demo.users[0]
        say = self._terminal.say
        self._terminal.title(f"Ready after {seconds:.0f} s: {self._ports.public_url}")
        say(f"  sign in           {self._ports.public_url}/login   {user.email}   {user.password}")
        say(f"  its authority     {self._authority}   (for your browser; only this platform has it)")
        say(f"  rewards shop      http://localhost:{self._ports.rewards_shop}   (enter it from your account)")
        if "monitoring" in further_profiles:
            say(f"  dashboards        http://localhost:{self._ports.grafana}   admin")
            say(f"  their password    {self._state.secrets / 'grafana' / 'grafana_password'}")
        say(f"  all credentials   {self._state.demo_json}")
        say(f"  by hand           docker compose --env-file {self._variables} ps")
        say("  again             make demo           stop: make down")


def _user() -> tuple[int, int]:
    """The user of the containers: the one who starts them, so that each can read the other's files."""
    return (os.getuid(), os.getgid()) if os.getuid() != 0 else (UNPRIVILEGED, UNPRIVILEGED)
