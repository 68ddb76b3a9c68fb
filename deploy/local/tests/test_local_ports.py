"""Ports and the state directory: who is where, who is in the way, and what is nobody else's business."""

import os
import socket
import stat
from pathlib import Path

import pytest
from local_platform.ports import Ports, busy_ports
from local_platform.state_directory import StateDirectory, StateDirectoryInUse, secret_once, write_private


def test_the_ports_are_those_of_the_contract() -> None:
    ports = Ports(8000)
    assert (ports.gateway, ports.gateway_tls, ports.postgres) == (8000, 8443, 8032)
    assert ports.of_services() == {
        "points-ledger": 8001,
        "sso-issuer": 8002,
        "partner-onboarding": 8003,
        "token-service": 8004,
        "rewards-shop": 8010,
    }


def test_strangers_may_be_called_on_this_machine_and_the_platform_s_inner_parts_may_not() -> None:
    ports = Ports(8000)
    assert set(ports.all()) - set(ports.inner()) == {8000, 8443, 8010, 8011}


@pytest.mark.parametrize("base", [0, 80, 65093, 100_000])
def test_a_base_from_which_some_port_could_not_be_used_is_refused(base: int) -> None:
    with pytest.raises(ValueError, match="PORT_BASE must lie between 1024 and 65092"):
        Ports(base)


def test_a_busy_port_names_the_process_that_holds_it() -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        (busy,) = busy_ports([port])
        assert f"port {port} is already in use by " in str(busy)
        assert f"(process {os.getpid()})" in str(busy)
    assert busy_ports([port]) == []


def test_a_second_run_on_the_same_directory_is_told_who_is_there(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.prepare()
    with state.held(), pytest.raises(StateDirectoryInUse, match=f"process {os.getpid()}"), state.held():
        pytest.fail("two at once")
    with state.held():
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.prepare()
    file = state.secrets / "points-ledger" / "key"
    assert secret_once(file, lambda: "first") == "first"
    assert secret_once(file, lambda: "second") == "first"
    assert stat.S_IMODE(state.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_private_file_is_replaced_whole_even_if_it_was_open_to_all(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.json"]
