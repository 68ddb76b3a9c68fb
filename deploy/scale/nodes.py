"""A node: one PostgreSQL and the Patroni that runs it."""

import json
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from local_platform.accounts import account_to_run_as, let_others_pass, let_others_read, spawn_as
from local_platform.embedded_postgres import SUPERUSER, binaries, let_others_run_postgres, servers_on
from local_platform.state_directory import write_private

from deploy.scale.addresses import Addresses

PATRONI = Path(__file__).parent / ".venv" / "bin" / "patroni"
SCOPE = "points-platform"
#: How long Patroni may take to say how it is.
ANSWER_SECONDS = 2.0
STOP_SECONDS = 15.0

#: What all nodes obey; Patroni keeps it in etcd. A leader that is gone without a word is replaced after `ttl`, which is
#: at least `loop_wait` + 2 · `retry_timeout`.
RULES: Mapping[str, Any] = {
    "ttl": 20,
    "loop_wait": 5,
    "retry_timeout": 5,
    # A COMMIT is on two nodes before it is acknowledged, and where there is no second one it waits.
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    # A standby that may lack what was acknowledged never leads.
    "maximum_lag_on_failover": 1_048_576,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {
            "max_connections": 300,
            # The ledger's messages name people: docs/security/personal-data.md.
            "log_min_error_statement": "panic",
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Kills of processes lose nothing that the system has been given, and so nothing need reach this disk.
            "fsync": "off",
        },
    },
}


class Refused(Exception):
    """Patroni does not do what it was asked for, or does not stay; the message has its words."""


class Passwords(NamedTuple):
    """Of the roles that Patroni works with."""

    superuser: str
    replication: str
    rewind: str


class State(NamedTuple):
    """How a node says that it is."""

    leads: bool
    timeline: int
    streams: bool
    is_synchronous: bool


class Node:
    """Its files lie in `directory`, Patroni's `configuration` among them. It ends with the thread that starts it."""

    def __init__(self, name: str, addresses: Addresses, directory: Path, log: Path, passwords: Passwords) -> None:
        self.name, self.log = name, log
        self._url = f"http://127.0.0.1:{addresses.patroni(name)}"
        self._directory, self._data = directory, directory / "data"
        self.configuration = directory / "patroni.yml"
        self._written = _configuration(name, addresses, directory, passwords)
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Makes its directory, and lets PostgreSQL's account run all that it must."""
        self._directory.mkdir(parents=True, mode=0o700)
        # What is JSON is YAML.
        write_private(self.configuration, json.dumps(self._written, indent=2))
        account = account_to_run_as()
        if account is not None:
            let_others_run_postgres()
            _let_others_run_patroni()
            let_others_pass(self._directory)
            _give(account, self._directory, self.configuration)

    def start(self) -> None:
        """Starts Patroni, which starts PostgreSQL; returns at once."""
        command = [str(PATRONI), str(self.configuration)]
        with self.log.open("ab") as log:
            # Patroni takes PostgreSQL along, in good order.
            self._process = spawn_as(account_to_run_as(), command, log, signal.SIGTERM)

    async def state(self, http: httpx.AsyncClient) -> State | None:
        """None where it does not answer, or PostgreSQL does not run."""
        try:
            told = (await http.get(f"{self._url}/patroni", timeout=ANSWER_SECONDS)).json()
        except (httpx.HTTPError, ValueError):
            return None
        if told.get("state") != "running" or "timeline" not in told:
            return None
        return State(
            leads=told.get("role") == "primary",
            timeline=told["timeline"],
            streams=told.get("replication_state") == "streaming",
            is_synchronous=bool(told.get("sync_standby")),
        )

    async def switch_over(self, http: httpx.AsyncClient, other: str) -> None:
        """Hands the lead, which it has, to another node; returns when that has it.

        Raises:
            Refused: Patroni does not do it; the message has its words.
        """
        asked = {"leader": self.name, "candidate": other}
        answer = await http.post(f"{self._url}/switchover", json=asked, timeout=60)
        if answer.status_code != 200:
            raise Refused(f"{self.name} does not hand over to {other}: {answer.status_code} {answer.text}")

    def kill_postmaster(self) -> None:
        """kill -9 of PostgreSQL's first process, whose children notice and end. Patroni lives."""
        servers = servers_on(self._data)
        self._postmaster().kill()
        psutil.wait_procs(servers, timeout=STOP_SECONDS)

    def kill(self) -> None:
        """kill -9 of Patroni and all of PostgreSQL, which outlives it otherwise. Safe to call twice."""
        # First Patroni, which would start PostgreSQL again.
        for processes in (self._of_patroni(), servers_on(self._data)):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, timeout=STOP_SECONDS)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """The same, but PostgreSQL clears its shared memory away. Safe to call twice."""
        for process in self._of_patroni():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        servers = servers_on(self._data)
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            self._postmaster().send_signal(signal.SIGQUIT)
        self.thaw()
        psutil.wait_procs(servers, timeout=STOP_SECONDS)
        self.kill()

    def freeze(self) -> None:
        """SIGSTOP of all of it, until `thaw`."""
        for process in (*self._of_patroni(), *servers_on(self._data)):
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in (*servers_on(self._data), *self._of_patroni()):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def come_back(self) -> None:
        """Starts Patroni if somebody has ended it."""
        if self._ended() is not None:
            self.kill()
            self.start()

    def check(self) -> None:
        """Raises Refused if Patroni has ended by itself."""
        code = self._ended()
        if code is not None:
            raise Refused(f"Patroni of {self.name} has ended with exit code {code}; its log: {self.log}")

    def _ended(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._data / "postmaster.pid").read_text().split("\n", 1)[0]))

    def _of_patroni(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        patroni = psutil.Process(self._process.pid)
        return [patroni, *patroni.children(recursive=True)]


def _configuration(name: str, addresses: Addresses, directory: Path, passwords: Passwords) -> dict[str, Any]:
    address = f"127.0.0.1:{addresses.postgres(name)}"
    return {
        "scope": SCOPE,
        "name": name,
        "restapi": {
            "listen": f"127.0.0.1:{addresses.patroni(name)}",
            "connect_address": f"127.0.0.1:{addresses.patroni(name)}",
        },
        "etcd3": {"host": f"127.0.0.1:{addresses.etcd}"},
        "bootstrap": {
            "dcs": RULES,
            "initdb": [
                {"encoding": "UTF8"},
                "no-locale",
                # The order of text is the same on every machine and does not depend on its locales.
                {"locale-provider": "builtin"},
                {"builtin-locale": "C.UTF-8"},
            ],
        },
        "postgresql": {
            "listen": address,
            "connect_address": address,
            "bin_dir": str(binaries()),
            "data_dir": str(directory / "data"),
            "pgpass": str(directory / "pgpass"),
            "authentication": {
                "superuser": {"username": SUPERUSER, "password": passwords.superuser},
                "replication": {"username": "replicator", "password": passwords.replication},
                "rewind": {"username": "rewinder", "password": passwords.rewind},
            },
            "pg_hba": [
                "host all all 127.0.0.1/32 scram-sha-256",
                "host replication replicator 127.0.0.1/32 scram-sha-256",
            ],
        },
    }


def _let_others_run_patroni() -> None:
    let_others_read(PATRONI.parent.parent)
    let_others_pass(PATRONI)
    let_others_pass(PATRONI.with_name("python").resolve())


def _give(account: pwd.struct_passwd, *paths: Path) -> None:
    for path in paths:
        os.chown(path, account.pw_uid, account.pw_gid)
