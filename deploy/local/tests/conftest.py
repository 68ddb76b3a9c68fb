import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from local_platform.gateway import certificate_authority, gateway_command, gateway_environment
from local_platform.ports import Ports
from local_platform.processes import launch
from platform_testing.tried_gateway import DOWN, Gateway, echo, free_ports, wait_for


@pytest.fixture(scope="module")
def ports() -> Ports:
    return free_ports()


@pytest.fixture(scope="module")
def services(ports: Ports) -> Iterator[None]:
    """Every service but one, each an echo, as uvicorn serves the real ones."""
    servers = [
        uvicorn.Server(uvicorn.Config(echo, port=port, log_config=None, lifespan="off", ws="none"))
        for name, port in ports.of_services().items()
        if name != DOWN
    ]

    async def serve_all() -> None:
        await asyncio.gather(*(server.serve() for server in servers))

    thread = threading.Thread(target=asyncio.run, args=[serve_all()])
    thread.start()
    yield
    for server in servers:
        server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def gateway(ports: Ports, services: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    log = directory / "gateway.log"
    environment = gateway_environment(ports, directory, directory / "developers") | {"GATEWAY_IDLE_SECONDS": "5"}
    process = launch(gateway_command(directory), environment, log)
    gateway = Gateway(ports, log, certificate_authority(directory))
    for path in ("/eai/", "/sso/", "/login"):
        wait_for(gateway, path, process)
    yield gateway
    process.terminate()
    assert process.wait(20) == 0
