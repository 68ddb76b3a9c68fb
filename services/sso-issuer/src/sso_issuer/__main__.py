"""`python -m sso_issuer serve | migrate | rotate-keys | list-keys`."""

import asyncio
from typing import Annotated

import typer
from shared.db import Database
from shared.migrating import upgrade
from shared.sealing import Sealer, parse_key_encryption_keys
from shared.service_app import serve as serve_app
from shared.settings import load
from shared.times import iso

from sso_issuer.app import PACKAGE, create_app
from sso_issuer.keys.domain import Algorithm, Key, Schedule
from sso_issuer.keys.published import PublishedKeys
from sso_issuer.keys.service import Keys, RevocationNotImmediate, Rotation
from sso_issuer.settings import Settings

cli = typer.Typer(help="Signs tokens for rewards vendors.", no_args_is_help=True, add_completion=False)


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(create_app(settings), settings, service="sso-issuer")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    upgrade(load(Settings).database_url.get_secret_value(), PACKAGE)


@cli.command()
def rotate_keys(
    tenant: Annotated[str, typer.Option(help="Whose keys.")],
    algorithm: Annotated[Algorithm | None, typer.Option(help="By default all that the tenant has.")] = None,
    immediately: Annotated[bool, typer.Option(help="Sign with the new key at once.")] = False,
    revoke_former: Annotated[bool, typer.Option(help="Private keys have leaked: end all that they signed.")] = False,
) -> None:
    """Publish a successor for a tenant's signing keys; the running service signs with it when its time has come."""
    try:
        rotations = asyncio.run(
            _rotate(load(Settings), tenant, algorithm, immediately=immediately, revoke_former=revoke_former)
        )
    except RevocationNotImmediate as refusal:
        typer.echo(refusal.message, err=True)
        raise typer.Exit(2) from None
    for rotation in rotations:
        typer.echo(_line(rotation.successor))


@cli.command()
def list_keys(tenant: Annotated[str | None, typer.Option(help="By default all tenants.")] = None) -> None:
    """Show keys and where they are in their lives; never the private halves."""
    for key in asyncio.run(_list(load(Settings), tenant)):
        typer.echo(_line(key))


async def _rotate(
    settings: Settings, tenant: str, algorithm: Algorithm | None, *, immediately: bool, revoke_former: bool
) -> list[Rotation]:
    database = Database.of(settings)
    try:
        keys = _keys(settings, database)
        pairs = await keys.prepare([algorithm] if algorithm else await keys.algorithms(tenant))
        async with database.transaction() as connection:
            return [
                await keys.rotate(connection, tenant, pair, immediately=immediately, revoke_former=revoke_former)
                for pair in pairs
            ]
    finally:
        await database.dispose()


async def _list(settings: Settings, tenant: str | None) -> list[Key]:
    database = Database.of(settings)
    try:
        return await _keys(settings, database).history(tenant)
    finally:
        await database.dispose()


def _keys(settings: Settings, database: Database) -> Keys:
    sealer = Sealer(parse_key_encryption_keys(settings.key_encryption_keys.get_secret_value()))
    return Keys(database, sealer, Schedule(rotate_every=settings.rotate_after), PublishedKeys(database))


def _line(key: Key) -> str:
    until = "" if key.published_until is None else f"  published until {iso(key.published_until)}"
    return (
        f"{key.tenant}  {key.algorithm.value}  {key.kid}  {key.state.value:8}"
        f"  published {iso(key.published_at)}  signs from {iso(key.signs_from)}{until}"
    )


if __name__ == "__main__":
    cli()
