"""What `make up` prepares for `docker-compose.yml`: every file and variable that it asks for, and secrets once."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_platform.console import Terminal
from local_platform.containers import UNPRIVILEGED, Containers
from local_platform.gateway import REPOSITORY
from local_platform.ports import Ports
from local_platform.state_directory import StateDirectory

COMPOSE = (REPOSITORY / "docker-compose.yml").read_text()
#: The caller of Compose sets these; `make up` leaves the defaults.
LEFT_TO_OTHERS = {
    *("BUILD_NETWORK", "GATEWAY_HTTPS", "GATEWAY_TLS", "LOG_LEVEL", "PLATFORM_VERSION", "PUBLISH"),
    *("GATEWAY_LANDING_HOST", "LANDING_ORIGIN"),
    *("CADDY_IMAGE", "GRAFANA_IMAGE", "POSTGRES_IMAGE", "PROMETHEUS_IMAGE", "PYTHON_IMAGE"),
}


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "containers")


def containers(state: StateDirectory, base: int = 8000) -> Containers:
    return Containers(Ports(base, https_only=True), state, Terminal())


def variables(state: StateDirectory) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (state.path / "compose.env").read_text().splitlines())


def files_of_secrets(state: StateDirectory) -> list[Path]:
    read: dict[str, Any] = yaml.safe_load(COMPOSE)
    place = "${PLATFORM_STATE:-./.run/containers}"
    return [Path(secret["file"].replace(place, str(state.path))) for secret in read["secrets"].values()]


def test_every_secret_is_a_file_that_only_the_containers_user_can_read(state: StateDirectory) -> None:
    containers(state).prepare()
    user = os.getuid() or UNPRIVILEGED
    for file in files_of_secrets(state):
        kept = file.stat()
        assert (stat.S_IMODE(kept.st_mode), kept.st_uid) == (0o600, user), file
        assert kept.st_size > 20
    assert variables(state)["PLATFORM_USER"].startswith(f"{user}:")


def test_secrets_are_made_once_and_stand_in_no_variable(state: StateDirectory) -> None:
    containers(state).prepare()
    first = {file: file.read_text() for file in files_of_secrets(state)}
    containers(state).prepare()
    assert {file: file.read_text() for file in files_of_secrets(state)} == first
    told = (state.path / "compose.env").read_text()
    assert not any(secret in told for secret in first.values())


def test_every_directory_that_is_mounted_is_there(state: StateDirectory) -> None:
    containers(state).prepare()
    mounted = set(re.findall(r'"\$\{PLATFORM_STATE:-\./\.run/containers\}/([a-z-]+):', COMPOSE))
    assert {"gateway", "mail", "postgresql"} <= mounted
    for name in mounted:
        assert stat.S_IMODE((state.path / name).stat().st_mode) in {0o700, 0o755}, name


def test_every_variable_that_compose_asks_for_is_told_or_has_a_default(state: StateDirectory) -> None:
    containers(state).prepare()
    asked = set(re.findall(r"\$\{([A-Z_]+):-", COMPOSE))
    assert len(re.findall(r"\$\{", COMPOSE)) == len(re.findall(r"\$\{[A-Z_]+:-", COMPOSE)), "one has no default"
    assert asked - LEFT_TO_OTHERS == set(variables(state)) - {"COMPOSE_PROJECT_NAME"}


def test_two_platforms_side_by_side_share_nothing(tmp_path: Path) -> None:
    one, other = StateDirectory(tmp_path / "one"), StateDirectory(tmp_path / "other")
    containers(one, 8000).prepare()
    containers(other, 9000).prepare()
    for name, value in variables(one).items():
        assert name in {"PLATFORM_USER", "MODE"} or variables(other)[name] != value, name


def test_other_images_are_taken_where_a_file_names_them(state: StateDirectory) -> None:
    state.path.mkdir()
    (state.path / "images.env").write_text("POSTGRES_IMAGE=somebody/postgres\n")
    containers(state).prepare()
    assert variables(state)["POSTGRES_IMAGE"] == "somebody/postgres"


def test_where_there_are_no_containers_there_is_nothing_to_stop(
    state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    containers(state).down()
    assert "There are no containers" in capsys.readouterr().out
    assert not state.path.exists()
