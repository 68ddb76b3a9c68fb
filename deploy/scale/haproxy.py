"""HAProxy: one address for the database, wherever it leads, and one for each service, whichever process is ready.

Why not a URL of three hosts with `target_session_attrs=read-write`, which the services take as well: a frozen node
still accepts connections and never answers, so that each new connection waits for it first. HAProxy asks Patroni once
a second, leaves such a node out, and breaks off what leads there.
"""

import csv
import io
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
from local_platform.accounts import spawn_as
from local_platform.processes import Program
from local_platform.services import SERVICES

from deploy.scale.addresses import NODES, PROCESSES, Addresses
from drills.debian import program

_HEAD = """\
global
    maxconn 4000
    log stdout format timed local0 notice

defaults
    log global
    option log-health-checks
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 1s
    # Out after two seconds, in after one; nobody stays with a node that no longer leads.
    default-server inter 1s fastinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
"""


def haproxy(addresses: Addresses, configuration: Path, log: Path) -> Program:
    """The program; ready when it leads to one node and knows that the others do not lead."""
    configuration.write_text("".join(f"{line}\n" for line in _lines(addresses)))
    command = [program("haproxy"), "-db", "-f", str(configuration)]

    def launch() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return spawn_as(None, command, output, signal.SIGKILL)

    async def is_ready(process: subprocess.Popen[bytes]) -> bool:
        return process.poll() is None and await _knows_the_primary(addresses)

    return Program("haproxy", log, launch, is_ready)


async def _knows_the_primary(addresses: Addresses) -> bool:
    """At first it takes every server for good, until it has asked."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            page = await client.get(f"http://127.0.0.1:{addresses.status}/;csv", timeout=5)
    except httpx.HTTPError:
        return False
    rows = csv.DictReader(io.StringIO(page.text.removeprefix("# ")))
    said = sorted(row["status"] for row in rows if row["pxname"] == "primary" and row["svname"] in NODES)
    return said == ["DOWN"] * (len(NODES) - 1) + ["UP"]


def _lines(addresses: Addresses) -> Iterator[str]:
    yield _HEAD
    yield "listen status"
    yield f"    bind 127.0.0.1:{addresses.status}"
    yield "    mode http"
    yield "    stats enable"
    yield "    stats uri /"
    yield ""
    yield from _listen("primary", addresses.primary, "tcp", "/primary")
    for node in NODES:
        yield f"    server {node} 127.0.0.1:{addresses.postgres(node)} check port {addresses.patroni(node)}"
    for service in SERVICES:
        yield ""
        yield from _listen(service.name, addresses.either(service), "http", "/readyz")
        yield "    balance leastconn"
        for number in PROCESSES:
            yield f"    server {service.name}-{number} 127.0.0.1:{addresses.process(service, number)} check"


def _listen(name: str, port: int, mode: str, asks: str) -> Iterator[str]:
    yield f"listen {name}"
    yield f"    bind 127.0.0.1:{port}"
    yield f"    mode {mode}"
    yield "    option httpchk"
    yield f"    http-check send meth GET uri {asks}"
    yield "    http-check expect status 200"
