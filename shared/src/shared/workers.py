"""Several processes of one service behind one port: a parent that starts them, watches them and ends them.

    worker = become_worker(settings, service="points-ledger")     # returns in each worker, and never in the parent
    sockets = worker.listen()

The parent serves nothing. Each worker has a socket of its own on the port (SO_REUSEPORT), among which the kernel shares
the connections out: a worker that dies takes its own connections with it, and new ones go to the others.

Guarantees:
- a worker that ends is started anew; one that ends young, several times in a row, ends the whole with its status;
- a worker whose event loop stands still is killed, and started anew;
- SIGTERM and SIGINT to the parent go to all workers, and the parent ends after the last one;
- workers end by themselves when their parent is gone.
"""

import gc
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog

from shared.logs import configure_logging
from shared.settings import ServiceSettings

#: A worker that ends sooner ends young.
_YOUNG_SECONDS: Final = 10.0
_TRIES: Final = 3
#: Before a worker that ended young is started anew.
_PAUSE_SECONDS: Final = 1.0
#: How long a worker may take until it serves.
_START_SECONDS: Final = 120.0
#: How long an event loop may stand still, on top of the time that requests have at the end.
_HUNG_SECONDS: Final = 20.0
#: How long workers may take to end, on top of the time for their drain and their requests.
_END_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.5
#: The server's own status for it.
_CANNOT_SERVE: Final = 3
#: A parent that has looked away for longer was stopped itself, perhaps with all its workers.
_LOOKED_AWAY_SECONDS: Final = 5.0
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = (*_ENDING, signal.SIGCHLD)
_log = structlog.get_logger("workers")


@dataclass(frozen=True)
class Worker:
    """What a worker knows of itself.

    Args:
        number: from 1 to `count`; one that was started anew has the number of the former.
        restarts: how many of this number have ended.
        directory: belongs to the workers of this parent; other users cannot look into it.
        lifeline: a file descriptor that becomes readable when the parent is gone.
    """

    number: int
    count: int
    restarts: int
    directory: Path
    host: str
    port: int
    pulse: int
    lifeline: int

    @property
    def others(self) -> list[int]:
        return [number for number in range(1, self.count + 1) if number != self.number]

    def listen(self) -> list[socket.socket]:
        """Sockets of this worker alone on the port of all."""
        return _bound(self.host, self.port)

    def beat(self) -> None:
        """Tells the parent that the event loop turns. It expects that every second."""
        # The pipe is full while the parent is stopped, and broken when it is gone.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self.pulse, b".")


def become_worker(settings: ServiceSettings, *, service: str) -> Worker:
    """Starts `settings.workers` processes and returns in each of them.

    Call it before anything has a thread, an event loop, or random numbers that no other process may have.

    Raises:
        SystemExit: in the parent: with 3 if it cannot listen there. When all workers have ended, with 0 after SIGTERM
            or SIGINT, otherwise with the status of the worker that ended young again and again.
    """
    configure_logging(service, settings.log_level)
    # The workers share the memory of what is loaded by now, until garbage collection writes to it.
    gc.collect()
    gc.freeze()
    try:
        _refuse_if_taken(settings.host, settings.port)
        # Never listened at, it keeps the port while no worker has it.
        keeps_port = _bound(settings.host, settings.port)
    except OSError as error:
        _log.error("cannot listen", host=settings.host, port=settings.port, why=str(error))
        raise SystemExit(_CANNOT_SERVE) from None
    directory = Path(tempfile.mkdtemp(prefix=f"{service}-"))
    parent = _Parent(settings, directory)
    worker = parent.run()
    for each in keeps_port:
        each.close()
    if worker is not None:
        return worker
    shutil.rmtree(directory, ignore_errors=True)
    raise SystemExit(parent.status)


@dataclass
class _Child:
    pid: int
    pulse: int
    began_at: float
    #: None until it serves.
    beat_at: float | None = None
    is_condemned: bool = False


class _Parent:
    def __init__(self, settings: ServiceSettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self.status = 0
        self._children: dict[int, _Child] = {}
        self._restarts = dict.fromkeys(range(1, settings.workers + 1), 0)
        self._ended_young = dict.fromkeys(range(1, settings.workers + 1), 0)
        #: When workers that ended are due, by their number.
        self._due = dict.fromkeys(range(1, settings.workers + 1), 0.0)
        self._asked: list[int] = []
        self._ends_by: float | None = None
        self._looked_at = time.monotonic()
        self._lifeline, self._keeps_alive = os.pipe()
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wakes, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._former: dict[signal.Signals, Any] = {}

    def run(self) -> Worker | None:
        """A worker in each child; None in the parent, when all have ended."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._former = {each: signal.signal(each, self._note) for each in _WATCHED}
        while self._children or self._ends_by is None:
            for number in [each for each, due in self._due.items() if due <= time.monotonic()]:
                if (worker := self._start(number)) is not None:
                    return worker
            self._listen_to_children()
            self._bury()
            while self._asked:
                self._end(self._asked.pop(0))
            self._judge()
        return None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING:
            self._asked.append(number)

    def _start(self, number: int) -> Worker | None:
        pulse, sends = os.pipe()
        os.set_blocking(pulse, False)
        os.set_blocking(sends, False)
        # What waits there would be written by both.
        sys.stdout.flush()
        # A signal between the fork and the child's own handlers would be lost in the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        pid = os.fork()
        if pid == 0:
            os.close(pulse)
            self._leave_to_child()
            return Worker(
                number=number,
                count=self._settings.workers,
                restarts=self._restarts[number],
                directory=self._directory,
                host=self._settings.host,
                port=self._settings.port,
                pulse=sends,
                lifeline=self._lifeline,
            )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.close(sends)
        del self._due[number]
        self._children[number] = child = _Child(pid, pulse, time.monotonic())
        self._selector.register(pulse, selectors.EVENT_READ, child)
        _log.info("worker started", worker=number, pid=pid, restarts=self._restarts[number])
        return None

    def _leave_to_child(self) -> None:
        signal.set_wakeup_fd(-1)
        for each, handler in self._former.items():
            signal.signal(each, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        # Ctrl-C goes to the parent alone, which passes it on once.
        os.setpgid(0, 0)
        self._selector.close()
        for descriptor in (self._wake, self._wakes, self._keeps_alive, *(one.pulse for one in self._children.values())):
            os.close(descriptor)

    def _listen_to_children(self) -> None:
        for key, _ in self._selector.select(_LOOK_SECONDS):
            beats = os.read(key.fd, 4096)
            if isinstance(key.data, _Child):
                if beats:
                    key.data.beat_at = time.monotonic()
                else:
                    self._selector.unregister(key.fd)

    def _bury(self) -> None:
        for pid, waited in _ended_children():
            number = next((each for each, child in self._children.items() if child.pid == pid), None)
            if number is None:
                # As the first process of a container it inherits what a worker that died has left behind.
                continue
            child = self._children.pop(number)
            with suppress(KeyError):
                self._selector.unregister(child.pulse)
            os.close(child.pulse)
            seconds = time.monotonic() - child.began_at
            code = os.waitstatus_to_exitcode(waited)
            status = code if code >= 0 else 128 - code
            if self._ends_by is not None:
                _log.info("worker ended", worker=number, pid=pid, status=status)
                continue
            self._restarts[number] += 1
            is_young = seconds < _YOUNG_SECONDS
            self._ended_young[number] = self._ended_young[number] + 1 if is_young else 0
            _log.error("worker ended unasked", worker=number, pid=pid, status=status, after_seconds=round(seconds, 1))
            if self._ended_young[number] >= _TRIES:
                _log.error("worker ends young again and again; all end", worker=number, status=status, tries=_TRIES)
                self.status = status or 1
                self._end(signal.SIGTERM)
            else:
                self._due[number] = time.monotonic() + (_PAUSE_SECONDS if is_young else 0.0)

    def _end(self, asked: int) -> None:
        """Passes a signal on. As with one process, a second one is to end them at once."""
        self._due.clear()
        if self._ends_by is None:
            seconds = self._settings.drain_seconds + self._settings.shutdown_seconds + _END_SECONDS
            self._ends_by = time.monotonic() + seconds
        for child in self._children.values():
            # It is not buried yet, so the number is still its own.
            os.kill(child.pid, asked)

    def _judge(self) -> None:
        """Kills the workers that stand still, and at the end those that do not end."""
        now = time.monotonic()
        if now - self._looked_at > _LOOKED_AWAY_SECONDS:
            for child in self._children.values():
                child.beat_at = None if child.beat_at is None else now
        self._looked_at = now
        for number, child in self._children.items():
            if child.is_condemned:
                continue
            if self._ends_by is not None:
                is_late, why = now > self._ends_by, "worker does not end"
            elif child.beat_at is None:
                is_late, why = now - child.began_at > _START_SECONDS, "worker does not come to serve"
            else:
                hung_seconds = _HUNG_SECONDS + self._settings.shutdown_seconds
                is_late, why = now - child.beat_at > hung_seconds, "worker stands still"
            if is_late:
                _log.error(why, worker=number, pid=child.pid)
                child.is_condemned = True
                os.kill(child.pid, signal.SIGKILL)


def _ended_children() -> Iterator[tuple[int, int]]:
    """The number of each child that has ended since the last look, and how."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _refuse_if_taken(host: str, port: int) -> None:
    """Sockets that share a port would share it with a second service that somebody starts there by mistake, too."""
    for family, address in _addresses(host, port):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            _prepare(probe)
            probe.bind(address)


def _bound(host: str, port: int) -> list[socket.socket]:
    bound = []
    for family, address in _addresses(host, port):
        each = socket.socket(family, socket.SOCK_STREAM)
        _prepare(each)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind(address)
        bound.append(each)
    return bound


def _prepare(each: socket.socket) -> None:
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if each.family is socket.AF_INET6:
        # An IPv4 address has a socket of its own.
        each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
