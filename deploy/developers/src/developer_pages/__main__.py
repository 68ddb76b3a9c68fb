"""`python -m developer_pages DIRECTORY --public-url URL`: builds the pages for developers."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from developer_pages.site import build_site


def build(
    directory: Annotated[Path, typer.Argument(help="Where the site goes; what is there is replaced.")],
    public_url: Annotated[str, typer.Option(help="The gateway's address, as callers write it.")],
) -> None:
    """Build the pages for developers."""
    logging.getLogger("mkdocs").setLevel(logging.WARNING)
    built = build_site(directory, public_url.rstrip("/"))
    typer.echo(f"{directory}: {'built' if built else 'is up to date'}")


if __name__ == "__main__":
    typer.run(build)
