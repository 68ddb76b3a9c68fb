"""Programs of Debian's that a drill needs."""

import os
import shutil
import subprocess
import sys


def program(name: str, package: str | None = None) -> str:
    """The path of a program; where it is missing, its package is installed.

    Raises:
        LookupError: it is not there and cannot be installed; the message says what to do.
    """
    found = _find(name)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "-y", "--no-install-recommends", package or name],
        ):
            subprocess.run(command, env=environment, check=False, stdout=sys.stderr)
        found = _find(name)
    if found is None:
        raise LookupError(f"this drill needs {name} (Debian: apt-get install {package or name})")
    return found


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
