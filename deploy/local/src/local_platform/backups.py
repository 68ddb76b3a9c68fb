"""How old the newest backup of each database is: for an alarm, since nobody misses a backup that is not made.

A backup is a file `<service>-….dump` of `pg_dump -Fc`, which gets this name when it is complete. Its age is that of its
file, and counts from the end of the dump.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Final

from prometheus_client import Gauge, start_http_server

_MAGIC: Final = b"PGDMP"
_last = Gauge(
    "backup_last_timestamp_seconds",
    "When the newest backup was complete; 0 if there is none. Alarm on its age.",
    ["service"],
)
_bytes = Gauge("backup_last_bytes", "The size of the newest backup.", ["service"])
_former_bytes = Gauge("backup_former_bytes", "The size of the backup before it; 0 if there is none.", ["service"])


@dataclass(frozen=True, slots=True)
class Backup:
    """A complete dump."""

    name: str
    completed_at: float
    size: int


class Backups:
    """The backups in a directory, as it is whenever somebody asks.

    Args:
        services: whose backups must be there.
    """

    def __init__(self, directory: Path, services: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._services = services
        self._clock = clock

    def of(self, service: str) -> list[Backup]:
        """The newest first. What is no dump, or has yet to get its name, is none."""
        found = []
        for file in self._directory.glob(f"{service}-*.dump"):
            try:
                with file.open("rb") as opened:
                    is_dump = opened.read(len(_MAGIC)) == _MAGIC
                stat = file.stat()
            except FileNotFoundError:
                # Somebody has just taken it away, as the oldest are.
                continue
            if is_dump:
                found.append(Backup(file.name, stat.st_mtime, stat.st_size))
        return sorted(found, key=lambda backup: backup.completed_at, reverse=True)

    def faults(self, at_most_hours: float) -> list[str]:
        """A sentence for each service without a backup, or with too old a one."""
        faults = []
        for service in self._services:
            newest = next(iter(self.of(service)), None)
            if newest is None:
                faults.append(f"{service}: there is no backup in {self._directory}")
            elif (hours := (self._clock() - newest.completed_at) / 3600) > at_most_hours:
                faults.append(f"{service}: the newest backup, {newest.name}, is {hours:.1f} hours old")
        return faults

    def tell(self) -> None:
        """Figures of them from now on, read anew whenever they are asked for."""
        for service in self._services:
            _last.labels(service).set_function(partial(self._completed_at, service))
            _bytes.labels(service).set_function(partial(self._size, service, 0))
            _former_bytes.labels(service).set_function(partial(self._size, service, 1))

    def _completed_at(self, service: str) -> float:
        return next((each.completed_at for each in self.of(service)), 0.0)

    def _size(self, service: str, place: int) -> float:
        return sum(each.size for each in self.of(service)[place : place + 1])


def serve_figures(backups: Backups, host: str, port: int) -> None:
    """Serves `/metrics` until SIGTERM or SIGINT."""
    ended = Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    backups.tell()
    server, _ = start_http_server(port, host)
    ended.wait()
    server.shutdown()
