"""Processes that sign with RS256 beside the service's own.

A signature takes 0.3 ms without the interpreter's lock. In a thread, it needs that lock before and after, and waits for
it as long as the event loop computes: measured under load, a quarter of two cores stood idle. In a process of its own
it waits for nothing.
"""

import asyncio
import socket
import subprocess  # nosec B404
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

import structlog
from shared.jwt import MIN_RSA_BITS

from sso_issuer.signing_process import REPLY, request_of

_log = structlog.get_logger("signing")

#: A child that takes longer is given up.
_PATIENCE_SECONDS: Final = 2.0
#: Fewer signatures are made by one child: measured with two lanes, that is an eighth more than each half by another.
_SHARE: Final = 16
_START_SECONDS: Final = 15.0
_END_SECONDS: Final = 2.0
#: So long nobody tries to start a child after one has ended.
_PAUSE_SECONDS: Final = 5.0

#: A private key (PKCS #8), and a SHA-256 digest to be signed with it.
Order = tuple[bytes, bytes]


class NoProcess(Exception):
    """No process signs at this moment."""


class _Child(asyncio.Protocol):
    """A connection to a signing process, which answers in order."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._awaited: deque[asyncio.Future[bytes]] = deque()
        self._received = bytearray()
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: the transports of uvloop are no subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= REPLY.size:
            end = REPLY.size + int(REPLY.unpack_from(self._received)[0])
            if len(self._received) < end:
                return
            awaited, answer = self._awaited.popleft(), bytes(self._received[REPLY.size : end])
            del self._received[:end]
            if not awaited.done():
                awaited.set_result(answer)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.has_ended = True
        while self._awaited:
            awaited = self._awaited.popleft()
            if not awaited.done():
                awaited.set_exception(NoProcess("it has ended"))

    @property
    def waiting(self) -> int:
        """How many requests it has not answered."""
        return len(self._awaited)

    def ask(self, key: bytes, digests: Sequence[bytes]) -> "asyncio.Future[bytes]":
        """Will be the signatures, one after the other; or NoProcess, if the process ends before."""
        awaited: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self._transport is None or self.has_ended:
            awaited.set_exception(NoProcess("it has ended"))
        else:
            self._awaited.append(awaited)
            self._transport.write(request_of(key, digests))
        return awaited

    def end(self) -> None:
        """Takes no more; the process ends when it notices."""
        self.has_ended = True
        if self._transport is not None:
            self._transport.abort()


class SigningProcesses:
    """Children that sign. They are started when the first signature is asked for, and again when one has ended.

    Args:
        at_most: how many run.
        clock: seconds, monotonic; handed in by tests.
    """

    def __init__(self, at_most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_most = at_most
        self._clock = clock
        self._children: dict[_Child, subprocess.Popen[bytes]] = {}
        self._starting: asyncio.Task[None] | None = None
        self._start_at = float("-inf")

    @property
    def pids(self) -> list[int]:
        """The process ids of those that sign now."""
        return [process.pid for process in self._children.values()]

    async def sign_all(self, orders: Sequence[Order]) -> list[bytes]:
        """Signatures by RS256, in order; each child makes its share of them.

        Raises:
            NoProcess: they cannot be made here. Nothing is half done: a signature changes nothing.
        """
        self._keep_running()
        # Few children, those with the least to do: a batch that is cut in two wakes two, and its lane waits for both.
        shares = max(1, len(orders) // _SHARE)
        children = sorted(self._children, key=lambda child: child.waiting)[:shares]
        if not children:
            raise NoProcess("none has started yet")
        # All are sent before the first answer comes. No tasks: they would cost as much as all the rest here.
        asked = [ask for place, child in enumerate(children) for ask in _ask(child, orders, place, len(children))]
        signatures = [b""] * len(orders)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for one in asked:
                    signed = await one.answer
                    size = len(signed) // len(one.places)
                    if size * 8 < MIN_RSA_BITS:
                        raise NoProcess("these are no signatures")
                    for number, place in enumerate(one.places):
                        signatures[place] = signed[number * size : (number + 1) * size]
        except TimeoutError:
            for one in asked:
                if not one.answer.done() or one.answer.cancelled():
                    self._give_up(one.child)
            raise NoProcess("it takes too long") from None
        finally:
            for one in asked:
                # Looked at in any case: an error that nobody looks at is reported as a fault.
                if not one.answer.cancel() and not one.answer.cancelled():
                    one.answer.exception()
        return signatures

    async def started(self) -> None:
        """Waits until the children that are being started run, or have failed to."""
        if self._starting is not None:
            await asyncio.wait([self._starting])

    async def close(self) -> None:
        """Ends the children."""
        self._at_most = 0
        # Not cancelled: it could leave a child behind that nobody knows.
        await self.started()
        processes = list(self._children.values())
        for child in self._children:
            child.end()
        self._children.clear()
        await asyncio.to_thread(_wait_for, processes)

    def _keep_running(self) -> None:
        for child in [child for child in self._children if child.has_ended]:
            self._give_up(child)
        is_starting = self._starting is not None and not self._starting.done()
        if len(self._children) < self._at_most and not is_starting and self._clock() >= self._start_at:
            self._start_at = self._clock() + _PAUSE_SECONDS
            self._starting = asyncio.create_task(self._start(), name="start-signing-processes")

    def _give_up(self, child: _Child) -> None:
        process = self._children.pop(child, None)
        if process is not None:
            child.end()
            process.kill()
            # After SIGKILL it takes no time, and leaves no zombie.
            process.wait()
            _log.warning("a signing process is given up", pid=process.pid)

    async def _start(self) -> None:
        while len(self._children) < self._at_most:
            try:
                await self._start_one()
            except (OSError, TimeoutError, NoProcess) as error:
                _log.warning("a signing process does not start", error=repr(error))
                return

    async def _start_one(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.to_thread(_begin, theirs)
        try:
            _, child = await asyncio.get_running_loop().create_connection(_Child, sock=ours)
            async with asyncio.timeout(_START_SECONDS):
                # Answered as soon as it runs.
                await child.ask(b"", [])
        except BaseException:
            ours.close()
            process.kill()
            await asyncio.to_thread(process.wait)
            raise
        self._children[child] = process


def _begin(socket_of_child: socket.socket) -> "subprocess.Popen[bytes]":
    # Our own program. It gets no environment: ours holds the key-encryption keys.
    return subprocess.Popen(  # nosec B603
        [sys.executable, "-I", "-m", "sso_issuer.signing_process"],
        stdin=socket_of_child.fileno(),
        stdout=subprocess.DEVNULL,
        env={},
    )


def _wait_for(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Asked(NamedTuple):
    """A request to a child, and the places of its signatures among the orders."""

    child: _Child
    places: Sequence[int]
    answer: "asyncio.Future[bytes]"


def _ask(child: _Child, orders: Sequence[Order], first: int, step: int) -> list[_Asked]:
    """Asks for every `step`-th signature, in one request for each key."""
    by_key: dict[bytes, list[int]] = {}
    for place in range(first, len(orders), step):
        by_key.setdefault(orders[place][0], []).append(place)
    return [
        _Asked(child, places, child.ask(key, [orders[place][1] for place in places])) for key, places in by_key.items()
    ]
