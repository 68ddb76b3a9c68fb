"""The Compose file for production says of the services what the list of services says."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_platform.installation import Installation
from local_platform.services import SERVICES, Service

from .service_settings import SETTINGS, port_of

PRODUCTION = Path(__file__).resolve().parents[2] / "production"


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    return dict(yaml.safe_load((PRODUCTION / "compose.yaml").read_text()))


@pytest.fixture(params=SERVICES, ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    return request.param  # type: ignore[no-any-return]  # pytest does not type parameters


def test_two_processes_serve_by_settings_that_exist_and_in_production_mode(
    composed: dict[str, Any], service: Service
) -> None:
    one, other = (composed["services"][f"{service.name}-{number}"] for number in (1, 2))
    assert one == other
    known = {f"{service.prefix}{name.upper()}" for name in SETTINGS[service.name].model_fields}
    assert one["environment"].keys() <= known | {f"{service.prefix}SECRETS_DIR"}
    assert f"{service.prefix}MODE" not in one["environment"]
    for neighbour in SERVICES:
        if neighbour.name in service.asks:
            address = one["environment"][f"{service.prefix}{neighbour.prefix}URL"]
            assert address == f"http://{neighbour.name}:{port_of(neighbour)}"
    assert one["networks"]["inside"]["aliases"] == [service.name]


def test_the_gateway_watches_both(composed: dict[str, Any], service: Service) -> None:
    told = composed["services"]["gateway"]["environment"]
    assert told["GATEWAY_PROCESSES"] == "watched"
    assert told[service.gateway_variable] == f"{service.name}-1:{port_of(service)} {service.name}-2:{port_of(service)}"


def test_its_secrets_are_those_that_the_installation_makes_and_the_owners_go_to_migrations_alone(
    composed: dict[str, Any], tmp_path: Path
) -> None:
    Installation(tmp_path, "db:5432", "").make()
    files = {name: told["file"].removeprefix("./secrets/") for name, told in composed["secrets"].items()}
    assert all((tmp_path / file).exists() for file in files.values() if not file.startswith("yours/"))
    for name, told in composed["services"].items():
        sources = [each if isinstance(each, str) else each["source"] for each in told.get("secrets", [])]
        assert set(sources) <= files.keys()
        assert any("migration" in source for source in sources) == name.endswith("-migrate")


def test_every_required_variable_stands_in_the_example() -> None:
    required = set(re.findall(r"\$\{([A-Z_]+):\?\}", (PRODUCTION / "compose.yaml").read_text()))
    given = re.findall(r"^([A-Z_]+)=.", (PRODUCTION / "env.example").read_text(), re.MULTILINE)
    # Compose's own: what it calls networks and containers.
    assert required | {"COMPOSE_PROJECT_NAME"} == set(given)
