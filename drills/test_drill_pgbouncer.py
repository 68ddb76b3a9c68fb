"""The platform behind PgBouncer in transaction mode: each statement may meet another connection of the database."""

import os
import pwd
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from local_platform.embedded_postgres import EmbeddedPostgres, free_port, in_own_loop
from local_platform.parents import end_with_parent
from local_platform.services import SERVICES

from drills.debian import program
from tests.running_platform import RunningPlatform, environment_of, free_ports, run_command, until

#: So few server connections that the platform's own pools would not fit: a caller that kept one would stop the others.
POOL_SIZE = 4

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
server_reset_query_always = 0
"""


class PlatformBehindPgBouncer(RunningPlatform):
    """`make run`, with the databases that the settings name."""

    settings: Mapping[str, str] = {}

    def environment(self) -> dict[str, str]:
        return environment_of(self.state, self.ports) | self.settings

    def launch(self) -> None:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(run_command(), env=self.environment(), stdout=output, stderr=output)


@pytest.fixture(scope="module")
def databases(postgres: EmbeddedPostgres) -> dict[str, str]:
    """role = database → password."""
    passwords = {service.database: secrets.token_urlsafe(16) for service in SERVICES}
    for name, password in passwords.items():
        postgres.create_role_and_database(name, password)
    return passwords


@contextmanager
def pgbouncer(server: EmbeddedPostgres, passwords: Mapping[str, str]) -> Iterator[int]:
    """Its port, while it runs; it runs as nobody, since it refuses to be root."""
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        directory, port = Path(name), free_port()
        users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
        users.write_text("".join(f'"{role}" "{password}"\n' for role, password in passwords.items()))
        configuration.write_text(
            CONFIGURATION.format(server_port=server.port, port=port, users=users, pool_size=POOL_SIZE)
        )
        nobody = pwd.getpwnam("nobody")
        if os.geteuid() == 0:
            for path in (directory, users, configuration):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [program("pgbouncer"), "-q", str(configuration)],
                stdout=log,
                stderr=log,
                user=nobody.pw_uid if os.geteuid() == 0 else None,
                preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, takes no lock
            )
        role, password = next(iter(passwords.items()))
        url = f"postgresql://{role}:{password}@127.0.0.1:{port}/{role}"
        try:
            until(lambda: process.poll() is not None or _answers(url), "PgBouncer to answer")
            assert process.poll() is None, (directory / "log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    async def ask() -> bool:
        try:
            connection = await asyncpg.connect(url, statement_cache_size=0, timeout=2)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        await connection.close()
        return True

    return in_own_loop(ask())


def test_the_platform_and_its_demonstration_run_through_pgbouncer(
    postgres: EmbeddedPostgres, databases: dict[str, str], tmp_path: Path
) -> None:
    with pgbouncer(postgres, databases) as port:
        platform = PlatformBehindPgBouncer(tmp_path / "state", free_ports())
        platform.settings = {
            name: value
            for service in SERVICES
            for name, value in (
                (
                    service.database_url_variable,
                    f"postgresql://{service.database}:{databases[service.database]}@127.0.0.1:{port}/{service.database}",
                ),
                (f"{service.prefix}DATABASE_STATEMENT_CACHE", "0"),
            )
        }
        platform.start()
        try:
            played = subprocess.run(
                run_command("demo"), env=platform.environment(), capture_output=True, text=True, check=False
            )
            assert played.returncode == 0, played.stdout + played.stderr
            verified = subprocess.run(
                [*run_command()[:1], "-m", "points_ledger", "verify"],
                env=platform.process_of("points-ledger").environ(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert verified.returncode == 0, verified.stdout + verified.stderr
        finally:
            assert platform.stop() == 0
        for name in ("points-ledger", "sso-issuer", "partner-onboarding", "token-service"):
            assert "prepared statement" not in platform.log(name)
