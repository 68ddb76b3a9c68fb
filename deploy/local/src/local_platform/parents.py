"""How a child process ends when its parent does, however that ends."""

import ctypes
import functools
import os
import signal
import sys
from collections.abc import Callable


def end_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that sends a child this signal when the thread that started it ends (Linux only).

    The only way that also holds when the parent is killed with -9.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = _libc()  # loaded before the fork
    return functools.partial(_ask_for_signal, libc, death_signal.value, os.getpid())


def end_with_present_parent(death_signal: signal.Signals) -> None:
    """The same for this process and its parent."""
    if sys.platform.startswith("linux"):
        _ask_for_signal(_libc(), death_signal.value, os.getppid())


def end_with_make() -> None:
    """If make started this process and is killed, this process stops in good order too."""
    if "MAKELEVEL" in os.environ:
        end_with_present_parent(signal.SIGTERM)


def _ask_for_signal(libc: ctypes.CDLL, death_signal: int, parent: int) -> None:
    libc.prctl(1, death_signal)  # 1 = PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died in between
        os._exit(1)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
