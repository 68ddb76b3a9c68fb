"""Load on a server of ours with wrk, and what came of it."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "wrk"
CONNECTIONS = 32
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """Requests a second, latency in milliseconds, and how many answers were not 2xx or not there at all."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failures: int


def wrk() -> str:
    """The path of wrk; raises SystemExit with how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("make bench needs wrk (Debian: apt-get install wrk)")
    return found


def put_load(
    url: str,
    script: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    connections: int = CONNECTIONS,
) -> Load:
    """Runs `script` against `url` over 32 connections, as the measurements in the design did, or over others."""
    command = [wrk(), f"-t{min(2, connections)}", f"-c{connections}", f"-d{round(seconds)}s", "--latency"]
    command += ["-s", str(SCRIPTS / script)]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, url, "--", *arguments], capture_output=True, text=True, check=True)
    return _read(done.stdout)


def _read(report: str) -> Load:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    if rate is None:
        raise RuntimeError(f"wrk said nothing of use:\n{report}")
    failures = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", report))
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", report)
    if sockets is not None:
        failures += sum(int(number) for number in sockets.groups())
    return Load(float(rate[1]), _latency(report, "50%"), _latency(report, "99%"), failures)


def _latency(report: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)\b", report)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
