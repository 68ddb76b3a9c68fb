"""etcd, in which the nodes agree on who leads. One here; in production there are three, on machines of their own."""

import signal
import subprocess
from pathlib import Path

from local_platform.accounts import spawn_as
from local_platform.processes import Program, answers

from deploy.scale.addresses import Addresses
from drills.debian import program


def etcd(addresses: Addresses, directory: Path, log: Path) -> Program:
    """The program; its data lie in `directory`."""
    clients, peers = (f"http://127.0.0.1:{port}" for port in (addresses.etcd, addresses.etcd_peers))
    command = [
        program("etcd", "etcd-server"),
        *("--name", "etcd", "--data-dir", str(directory)),
        *("--listen-client-urls", clients, "--advertise-client-urls", clients),
        *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
        *("--initial-cluster", f"etcd={peers}"),
    ]

    def launch() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return spawn_as(None, command, output, signal.SIGKILL)

    return Program("etcd", log, launch, answers(f"{clients}/health"))
