"""What the workers of one service ask each other, so that each can answer for all: figures and readiness.

Each worker listens on a socket in the directory of their parent. A question is one line, the answer ends with the
connection.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from shared.workers import Worker

#: `/readyz` answers within a second.
_SECONDS: Final = 0.9
#: Readiness comes before them.
_FIGURES_SECONDS: Final = 2.0
_READINESS: Final = b"readiness"
_LONGEST_ANSWER: Final = 16 * 1024 * 1024
#: The name of a sample, and the brace where it has labels already.
_SAMPLE: Final = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{)?", re.MULTILINE)
_FAMILY: Final = re.compile(rb"^# HELP (\S+) ", re.MULTILINE)
_STARTS: Final = "starts"
_SILENT: Final = "does not answer"
_TROUBLE: Final = frozenset({"not ready", _SILENT})

#: What a worker says of its own readiness: the body of `/readyz`.
Readiness = Callable[[], Awaitable[Mapping[str, Any]]]


class Siblings:
    """A worker among its siblings.

    Args:
        readiness: of this worker.
    """

    def __init__(self, worker: Worker, readiness: Readiness) -> None:
        self._worker = worker
        self._readiness = readiness
        self._server: asyncio.Server | None = None
        self._own = CollectorRegistry()
        restarts = Counter("worker_restarts", "Workers of this number that ended unasked.", registry=self._own)
        restarts.inc(worker.restarts)
        self._all = CollectorRegistry()
        about = "1 if this worker answered when its figures were asked for, else 0."
        self._up = Gauge("worker_up", about, ["worker"], registry=self._all)

    async def begin(self) -> None:
        """Answers the others from now on."""
        path = self._path_of(self._worker.number)
        # That of a former worker of this number.
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path)

    async def end(self) -> None:
        if self._server is not None:
            self._server.close()

    async def figures(self) -> bytes:
        """The figures of all workers, each with the label `worker`."""
        others = self._worker.others
        asked = asyncio.gather(*(self._ask(number, b"figures") for number in others))
        own, answers = await asyncio.gather(self._own_figures(), asked)
        found: dict[int, bytes | None] = dict(zip(others, answers, strict=True)) | {self._worker.number: own}
        for number, figures in found.items():
            self._up.labels(str(number)).set(bool(figures))
        return merged([generate_latest(self._all), *(found[number] or b"" for number in sorted(found))])

    async def readiness(self) -> dict[str, Any]:
        """The body of `/readyz`: what this worker says of itself, and under `workers` how each stands.

        It is not ready if a connection to any of them would not be served well. A worker that is started anew has no
        connections, and makes nothing unready.
        """
        others = self._worker.others
        asked = asyncio.gather(*(self._ask(number, _READINESS) for number in others))
        own, answers = await asyncio.gather(self._readiness(), asked)
        stands = {self._worker.number: own["status"]}
        trouble = {}
        for number, answer in zip(others, answers, strict=True):
            said = json.loads(answer) if answer else {"status": _STARTS if answer is None else _SILENT}
            stands[number] = said["status"]
            if said["status"] in _TROUBLE:
                trouble[str(number)] = said
        status = "not ready" if own["status"] == "ready" and trouble else own["status"]
        workers = {str(number): stands[number] for number in sorted(stands)}
        return {**own, "status": status, "workers": workers} | ({"trouble": trouble} if trouble else {})

    async def _ask(self, number: int, question: bytes) -> bytes | None:
        """The answer; nothing if none comes in time, None if the worker does not listen."""
        try:
            async with asyncio.timeout(_SECONDS if question == _READINESS else _FIGURES_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._path_of(number), limit=_LONGEST_ANSWER)
                try:
                    writer.write(question + b"\n")
                    return await reader.read()
                finally:
                    writer.close()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except (TimeoutError, OSError):
            return b""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The worker that asked may be gone.
        with suppress(OSError):
            question = (await reader.readline()).strip()
            if question == b"figures":
                writer.write(await self._own_figures())
            elif question == _READINESS:
                writer.write(json.dumps(await self._readiness(), default=str).encode())
            await writer.drain()
        writer.close()

    async def _own_figures(self) -> bytes:
        # Where nobody asks `/readyz`, its figures would be missing, and the alarms with them.
        await self._readiness()
        return labelled(generate_latest() + generate_latest(self._own), self._worker.number)

    def _path_of(self, number: int) -> Path:
        return self._worker.directory / str(number)


def labelled(figures: bytes, worker: int) -> bytes:
    """Figures in Prometheus' text format, with the label `worker` on every sample."""
    label = b'{worker="%d"' % worker
    return _SAMPLE.sub(lambda found: found[1] + label + (b"," if found[2] else b"}"), figures)


def merged(several: list[bytes]) -> bytes:
    """Several texts of figures as one, in which each family stands once."""
    families: dict[bytes, list[bytes]] = {}
    for text in several:
        starts = [found.start() for found in _FAMILY.finditer(text)]
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
            lines = text[start:end].split(b"\n", 2)
            families.setdefault(b"\n".join(lines[:2]) + b"\n", []).append(lines[2])
    return b"".join(head + b"".join(samples) for head, samples in families.items())
