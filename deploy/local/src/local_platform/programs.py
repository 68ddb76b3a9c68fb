"""The programs of the platform: how to start each, and how to see that it is ready."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

from local_platform.demonstration import Client
from local_platform.embedded_postgres import EmbeddedPostgres
from local_platform.environments import Environments
from local_platform.gateway import gateway_command, gateway_environment
from local_platform.ports import Ports
from local_platform.processes import Program, answers, launch
from local_platform.services import SHOP, Service
from local_platform.state_directory import StateDirectory


class Programs:
    """All programs of one platform."""

    def __init__(self, ports: Ports, state: StateDirectory, environments: Environments) -> None:
        self._ports = ports
        self._state = state
        self._environments = environments

    def database(self, postgres: EmbeddedPostgres) -> Program:
        async def is_ready(process: subprocess.Popen[bytes]) -> bool:
            return postgres.is_ready(process)

        def start() -> subprocess.Popen[bytes]:
            postgres.prepare()
            return postgres.launch()

        return Program("postgresql", postgres.log, start, is_ready, stop_signal=signal.SIGINT, stop_seconds=30.0)

    def service(self, service: Service, environment: Mapping[str, str]) -> Program:
        command = [sys.executable, "-m", service.package, "serve"]
        url = f"http://127.0.0.1:{self._ports.of(service)}/readyz"
        return self._program(service.name, command, environment, url)

    def gateway(self) -> Program:
        storage = self._state.gateway.absolute()
        environment = gateway_environment(self._ports, storage, self._state.developers.absolute())
        # It routes no health check of anybody; that it refuses this one shows that it is there.
        closed_door = f"http://127.0.0.1:{self._ports.gateway}/healthz"
        return self._program("gateway", gateway_command(storage), environment, closed_door, status=404)

    def shop(self, vendor: Client) -> Program:
        environment = self._environments.of_shop(vendor.client_id, vendor.client_secret, vendor.vendor_id or "")
        command = [sys.executable, "-m", "rewards_shop", "serve"]
        return self._program(SHOP, command, environment, f"http://127.0.0.1:{self._ports.rewards_shop}/healthz")

    def stand_in(self) -> Program:
        command = [sys.executable, "-m", "local_platform.stand_in", str(self._ports.stand_in)]
        return self._program("stand-in", command, {}, f"http://127.0.0.1:{self._ports.stand_in}/")

    def _program(
        self, name: str, command: list[str], environment: Mapping[str, str], url: str, status: int = 200
    ) -> Program:
        log = self._state.log(name)
        return Program(name, log, partial(launch, command, environment, log), answers(url, status))
