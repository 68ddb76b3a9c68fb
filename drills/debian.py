"""Programs of Debian's that a drill needs."""

import os
import shutil
import subprocess
import sys


def program(name: str, *packages: str) -> str:
    """The path of a program; where it is missing, its packages are installed: by default the one of its name.

    Raises:
        LookupError: it is not there and cannot be installed; the message says what to do.
    """
    found, wanted = _find(name), packages or (name,)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "-y", "--no-install-recommends", *wanted],
        ):
            subprocess.run(command, env=environment, check=False, stdout=sys.stderr)
        found = _find(name)
    if found is None:
        raise LookupError(f"this drill needs {name} (Debian: apt-get install {' '.join(wanted)})")
    return found


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
