"""Dumps of databases, by PostgreSQL's own programs."""

import subprocess
from pathlib import Path

from local_platform.embedded_postgres import binaries


def dump(url: str, file: Path) -> None:
    """Writes the whole database into `file`, as the backup of an installation does."""
    _run("pg_dump", "-Fc", "-f", str(file), "-d", url)


def restore(url: str, file: Path) -> None:
    """Puts a dump into an empty database."""
    _run("pg_restore", "--exit-on-error", "--no-owner", "-d", url, str(file))


def run_sql(url: str, statement: str) -> None:
    """Runs a statement, as a person at psql."""
    _run("psql", "-v", "ON_ERROR_STOP=1", "-q", "-c", statement, "-d", url)


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 — only the wheel's own programs
        [str(binaries() / program), *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
