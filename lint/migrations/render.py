"""Writes the SQL of new migrations into a directory, for squawk: one file for each service.

    .venv/bin/python lint/migrations/render.py DIRECTORY

New are those behind the revisions that `last_release.toml` names: what is released cannot be changed any more.
"""

import io
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from alembic import command
from alembic.config import Config

#: Package → the newest revision of the last release.
SETTLED: Mapping[str, str] = tomllib.loads(Path(__file__).with_name("last_release.toml").read_text())["revisions"]


def render(package: str, settled: str) -> str:
    """The SQL of the package's migrations behind `settled`."""
    written = io.StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", "postgresql://nobody@nowhere/none")
    command.upgrade(config, f"{settled}:head", sql=True)
    return written.getvalue()


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for package, settled in SETTLED.items():
        (directory / f"{package}.sql").write_text(render(package, settled))


if __name__ == "__main__":
    main()
