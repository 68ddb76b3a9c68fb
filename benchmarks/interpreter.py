"""Which Python a figure is of: one that was built with the profile of a test run is 8 to 15 % ahead of a plain one."""

import platform
import sys
import sysconfig
from pathlib import Path
from typing import Final

#: Debian builds Python so on these machines, and leaves that out of what Python says of itself.
_DEBIAN_OPTIMIZES: Final = frozenset({"x86_64", "aarch64", "ppc64le"})


def interpreter() -> str:
    """Version and kind of build, such as `Python 3.11.2 (Debian's, PGO and LTO)`."""
    return f"Python {platform.python_version()} ({_build()})"


def _build() -> str:
    given = str(sysconfig.get_config_var("CONFIG_ARGS"))
    if "--enable-optimizations" in given:
        return "PGO and LTO" if "--with-lto" in given else "PGO"
    if sys.base_prefix == "/usr" and Path("/etc/debian_version").exists() and platform.machine() in _DEBIAN_OPTIMIZES:
        return "Debian's, PGO and LTO"
    return "no PGO"
