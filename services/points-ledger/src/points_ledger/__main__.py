"""`python -m points_ledger serve | migrate`."""

import typer
from shared.migrating import upgrade
from shared.service_app import serve as serve_app
from shared.settings import load

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
    upgrade(load(Settings).database_url.get_secret_value(), "points_ledger")


if __name__ == "__main__":
    cli()
