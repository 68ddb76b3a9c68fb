"""Finds a Chromium for the browser tests, or installs one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

#: Names that Chromium goes by, on the PATH.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NoBrowser(Exception):
    """There is no Chromium here and none can be installed; the message says what to do."""


def find_browser() -> Path | None:
    """An installed Chromium: named by CHROMIUM, on the PATH, or playwright's own."""
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named)
    for program in PROGRAMS:
        found = shutil.which(program)
        if found is not None:
            return Path(found)
    return _of_playwright()


def find_or_install_browser() -> Path:
    """An installed browser; else Debian's (as root, by apt-get); else playwright's.

    Raises:
        NoBrowser: neither way worked.
    """
    found = find_browser()
    if found is not None:
        return found
    attempts = []
    if os.geteuid() == 0 and shutil.which("apt-get"):
        attempts += [["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]]
    attempts.append([sys.executable, "-m", "playwright", "install", "chromium"])
    for command in attempts:
        sys.stderr.write(f"No Chromium found, trying: {' '.join(command)}\n")
        # What it says goes to standard error, too: standard output is for the path alone.
        subprocess.run(command, check=False, stdout=sys.stderr)  # noqa: S603 - the commands above
        found = find_browser()
        if found is not None:
            return found
    raise NoBrowser(
        "the browser tests need Chromium, and it could not be installed; install it (Debian: apt-get install "
        "chromium) or name one: CHROMIUM=/path/to/chromium make test"
    )


def _of_playwright() -> Path | None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a tool of development, not of `make run`

    with sync_playwright() as playwright:
        program = Path(playwright.chromium.executable_path)
    return program if program.exists() else None
