"""The embedded PostgreSQL: durable, supervisable, and clear about what hinders it."""

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres, PostgresStartError, free_port

PASSWORD = "it's a secret"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    closed = tmp_path_factory.mktemp("postgres") / "closed"
    closed.mkdir(mode=0o700)
    made = EmbeddedPostgres(closed / "a directory with a name" / "that is far too long for a socket" / ("x" * 60))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def server(made: EmbeddedPostgres) -> EmbeddedPostgres:
    """Running, whatever the test before did to it."""
    if made.process is None:
        made.start()
    made.create_role_and_database("ledger", PASSWORD)
    return made


async def ask(server: EmbeddedPostgres, statement: str, password: str = PASSWORD) -> Any:
    connection = await asyncpg.connect(server.url("ledger", "ledger", password))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_committed_survives_kill_9_and_the_next_start_comes_at_once(server: EmbeddedPostgres) -> None:
    await ask(server, "CREATE TABLE survivors AS SELECT 42 AS points")
    server.kill()
    server.start()
    assert await ask(server, "SELECT points FROM survivors") == 42


async def test_a_standby_has_what_the_other_has_and_can_take_over(server: EmbeddedPostgres, tmp_path: Path) -> None:
    await ask(server, "CREATE TABLE followed AS SELECT 42 AS points")
    standby = EmbeddedPostgres(tmp_path / "standby")
    standby.follow(server)
    standby.start()
    try:
        assert await ask(standby, "SELECT points FROM followed") == 42
        connection = await asyncpg.connect(standby.url())
        assert await connection.fetchval("SELECT pg_is_in_recovery()")
        assert await connection.fetchval("SELECT pg_promote()")
        await connection.close()
        await ask(standby, "INSERT INTO followed VALUES (43)")
        assert await ask(standby, "SELECT max(points) FROM followed") == 43
    finally:
        standby.stop()


async def test_it_is_durable_sorts_the_same_everywhere_and_takes_enough_connections(server: EmbeddedPostgres) -> None:
    assert await ask(server, "SHOW synchronous_commit") == "on"
    assert await ask(server, "SHOW fsync") == "on"
    assert await ask(server, "SHOW max_connections") == "200"
    locale = "SELECT encoding::text || ' ' || datlocale FROM pg_database WHERE datname = 'ledger'"
    assert await ask(server, locale) == "6 C.UTF-8"


async def test_a_statement_that_fails_leaves_its_values_in_no_log(server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await ask(server, "SELECT 1 WHERE 'for ann' = '' OR 'x'::int = 1")
    log = server.log.read_text()
    assert "invalid input syntax" in log
    assert "for ann" not in log


async def test_nobody_comes_in_with_a_wrong_password_or_into_another_services_database(
    server: EmbeddedPostgres,
) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(server, "SELECT 1", password="wrong")
    server.create_role_and_database("stranger", "another secret")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(server.url("ledger", "stranger", "another secret"))


async def test_creating_a_role_again_changes_its_password_and_nothing_else(server: EmbeddedPostgres) -> None:
    await ask(server, "CREATE TABLE entries AS SELECT 7 AS points")
    server.create_role_and_database("ledger", "a new one")
    assert await ask(server, "SELECT points FROM entries", password="a new one") == 7


async def test_a_pid_file_of_a_dead_server_whose_number_somebody_else_has_now_does_not_stop_it(
    server: EmbeddedPostgres,
) -> None:
    server.kill()
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    server.start()
    assert await ask(server, "SELECT 1") == 1


async def test_a_busy_port_is_said_in_words(tmp_path: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        server = EmbeddedPostgres(tmp_path / "data", port, settings={"fsync": "off"})
        with pytest.raises(PostgresStartError, match=rf"on port {port}: .*Address already in use"):
            server.start()


async def test_a_server_that_still_runs_on_the_same_files_is_named(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_platform.embedded_postgres.LEFTOVER_SECONDS", 0.2)
    second = EmbeddedPostgres(server.directory, free_port())
    assert server.process is not None
    with pytest.raises(PostgresStartError, match=f"process {server.process.pid}"):
        second.start()
    assert await ask(server, "SELECT 1") == 1


async def test_stopping_ends_open_connections_and_leaves_a_clean_directory(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.url("ledger", "ledger", PASSWORD))
    process = server.process
    assert process is not None
    server.stop()
    assert process.returncode == 0
    assert not (server.data / "postmaster.pid").exists()
    connection.terminate()


def test_it_ends_when_the_process_that_launched_it_is_killed(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        server = EmbeddedPostgres(tmp_path / "data", settings={"fsync": "off"})
        server.start()
        assert server.process is not None
        (tmp_path / "pid").write_text(str(server.process.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    again = EmbeddedPostgres(tmp_path / "data", settings={"fsync": "off"})
    again.start()
    assert again.process is not None
    assert again.process.pid != int((tmp_path / "pid").read_text())
    again.stop()


def test_the_superusers_password_is_for_its_owner_only(server: EmbeddedPostgres) -> None:
    assert stat.S_IMODE((server.directory / "superuser-password").stat().st_mode) == 0o600
