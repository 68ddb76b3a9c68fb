"""Standard output of one among several processes, which puts no line into the middle of another's."""

import fcntl
import io
import os
import sys
from pathlib import Path
from typing import Final

#: More than is ever written at once; what is longer comes in several pieces.
_BUFFER_BYTES: Final = 1 << 20


def share_output(lock: Path) -> None:
    """From now on this process writes to standard output in turns with all others that name the same lock."""
    sys.stdout.flush()
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(_InTurns(1, lock), _BUFFER_BYTES), encoding="utf-8")


class _InTurns(io.RawIOBase):
    """Writes while it holds a lock, since a pipe takes only 4096 bytes as one piece.

    The kernel lets go of the lock of a process that dies.
    """

    def __init__(self, descriptor: int, lock: Path) -> None:
        self._descriptor = descriptor
        self._lock = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # any buffer, it says
        piece = memoryview(data)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            written = 0
            while written < len(piece):
                written += os.write(self._descriptor, piece[written:])
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        return written
