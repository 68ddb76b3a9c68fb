"""`python -m sso_issuer serve | migrate | rotate-keys | list-keys | events …`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from shared.db import Database
from shared.events.command_line import event_commands
from shared.migrating import migrate as migrate_schema
from shared.serving import serve as serve_app
from shared.settings import load, load_database_settings
from shared.times import iso

from sso_issuer.app import PACKAGE, build_events, build_keys, create_app
from sso_issuer.keys.domain import Algorithm, Key
from sso_issuer.keys.service import Keys, RevocationNotImmediate, RotationWish
from sso_issuer.settings import Settings

T = TypeVar("T")

cli = typer.Typer(help="Signs tokens for rewards vendors.", no_args_is_help=True, add_completion=False)
cli.add_typer(event_commands(Settings, build_events), name="events")


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(create_app(settings), settings, service="sso-issuer")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    migrate_schema(load_database_settings(Settings), PACKAGE)


@cli.command()
def rotate_keys(
    tenant: Annotated[str, typer.Option(help="Whose keys.")],
    algorithm: Annotated[Algorithm | None, typer.Option(help="By default all that the tenant has.")] = None,
    immediately: Annotated[bool, typer.Option(help="Sign with the new key at once.")] = False,
    revoke_former: Annotated[bool, typer.Option(help="Private keys have leaked: end all that they signed.")] = False,
) -> None:
    """Publish a successor of a tenant's signing keys; the running service signs with it later."""
    wish = RotationWish(algorithm=algorithm, immediately=immediately, revoke_former=revoke_former)
    try:
        rotations = _with_keys(lambda keys: keys.rotate(tenant, wish))
    except RevocationNotImmediate as refusal:
        typer.echo(refusal.message, err=True)
        raise typer.Exit(2) from None
    for rotation in rotations:
        typer.echo(_line(rotation.successor))


@cli.command()
def list_keys(tenant: Annotated[str | None, typer.Option(help="By default all tenants.")] = None) -> None:
    """Show keys and their states, without private halves."""
    for key in _with_keys(lambda keys: keys.history(tenant)):
        typer.echo(_line(key))


def _with_keys(use: Callable[[Keys], Awaitable[list[T]]]) -> list[T]:
    """Runs a use case of keys outside of the service, on the same database."""
    settings = load(Settings)

    async def run() -> list[T]:
        database = Database.of(settings)
        try:
            return await use(build_keys(settings, database))
        finally:
            await database.dispose()

    return asyncio.run(run())


def _line(key: Key) -> str:
    until = "" if key.published_until is None else f"  published until {iso(key.published_until)}"
    return (
        f"{key.tenant}  {key.algorithm.value}  {key.kid}  {key.state.value:8}"
        f"  published {iso(key.published_at)}  signs from {iso(key.signs_from)}{until}"
    )


if __name__ == "__main__":
    cli()
