"""`python -m points_ledger serve | migrate | verify`."""

import asyncio

import typer
from rich.console import Console
from shared.migrating import upgrade
from shared.serving import serve as serve_app
from shared.settings import load, load_database_settings

from points_ledger import verifying
from points_ledger.app import create_app
from points_ledger.settings import Settings

cli = typer.Typer(help="The system of record of points.", no_args_is_help=True, add_completion=False)


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(create_app(settings), settings, service="points-ledger")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    upgrade(load_database_settings(Settings).database_url.get_secret_value(), "points_ledger")


@cli.command()
def verify() -> None:
    """Recompute every balance from the entries, while the service runs; status 1 names the first that differs."""
    console = Console(stderr=True)
    with console.status("adding up all entries and holds"):
        verified = asyncio.run(verifying.verify(load_database_settings(Settings).database_url.get_secret_value()))
    console.print(f"looked at {verified.accounts:,} accounts and {verified.entries:,} entries")
    if verified.difference is not None:
        typer.echo(verified.difference)
        raise typer.Exit(1)
    typer.echo("every account agrees with its entries and holds")


if __name__ == "__main__":
    cli()
