"""`python -m token_service serve | migrate`."""

import typer
from shared.migrating import upgrade
from shared.service_app import serve as serve_app
from shared.settings import load

from token_service.app import PACKAGE, create_app
from token_service.settings import Settings

cli = typer.Typer(help="Unique, verifiable campaign tokens.", no_args_is_help=True, add_completion=False)


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(create_app(settings), settings, service="token-service")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    upgrade(load(Settings).database_url.get_secret_value(), PACKAGE)


if __name__ == "__main__":
    cli()
