"""`python -m sso_issuer serve | migrate | verify | rotate-keys | list-keys | …-receipt-keys | events …`."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from shared.commands import service_commands
from shared.db import Database
from shared.distributing import distribute_command
from shared.events.command_line import event_commands
from shared.migrating import migrate as migrate_schema
from shared.resealing import reseal_command
from shared.seals.command import verify_audit
from shared.seals.rows import SealedTable
from shared.serving import serve as serve_app
from shared.settings import load, load_database_settings, load_part
from shared.times import iso

from sso_issuer.app import PACKAGE, build_events, build_keys, build_receipts, create_app
from sso_issuer.keys.domain import Algorithm, Key
from sso_issuer.keys.service import Keys, RevocationNotImmediate, RotationWish
from sso_issuer.receipts.domain import ReceiptKeyNotFound
from sso_issuer.sealed import sealed_tables
from sso_issuer.settings import RetentionSettings, Settings
from sso_issuer.tables import metadata, seals

T = TypeVar("T")

cli = service_commands("Signs tokens for rewards vendors.")
cli.add_typer(event_commands(Settings, build_events), name="events")
cli.command("reseal")(reseal_command(Settings, metadata))
cli.command("distribute")(distribute_command(Settings, "sso_issuer", metadata))


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(lambda: create_app(settings), settings, service="sso-issuer")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    migrate_schema(load_database_settings(Settings), PACKAGE)


def _audits() -> tuple[RetentionSettings, tuple[SealedTable, ...]]:
    settings = load_part(Settings, RetentionSettings)
    return settings, sealed_tables(settings)


verify_audit(cli, "sso-issuer", seals, _audits, ["issuances", "authority_events"])


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


@cli.command()
def rotate_receipt_keys(
    tenant: Annotated[str, typer.Option(help="Whose keys.")],
    leaked: Annotated[
        str | None, typer.Option(help="The kid of a key whose private half has leaked: the key set will say so.")
    ] = None,
) -> None:
    """Sign a tenant's receipts with a new key from now on; public halves of former ones stay for ever."""
    try:
        kid = _with_database(
            lambda settings, database: build_receipts(settings, database).rotate(tenant, leaked=leaked)
        )
    except ReceiptKeyNotFound as refusal:
        typer.echo(refusal.message, err=True)
        raise typer.Exit(2) from None
    typer.echo(kid)


@cli.command()
def take_back_receipt_keys(
    tenant: Annotated[str, typer.Option(help="Whose keys.")],
    file: Annotated[typer.FileText, typer.Argument(help="A saved copy of the tenant's receipts/jwks.json.")],
) -> None:
    """Publish again the keys of a saved key set that a restored database lacks."""
    try:
        jwks = json.load(file)["keys"]
        missing = _with_database(lambda settings, database: build_receipts(settings, database).take_back(tenant, jwks))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        typer.echo(f"This is no key set of receipts: {error}.", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{missing} of {len(jwks)} keys were missing")


@cli.command()
def list_receipt_keys(tenant: Annotated[str | None, typer.Option(help="By default all tenants.")] = None) -> None:
    """Show the keys of receipts, without private halves."""
    for key in _with_database(lambda settings, database: build_receipts(settings, database).history(tenant)):
        leaked = "" if key.leaked_at is None else f"  leaked {iso(key.leaked_at)}"
        state = "signs" if key.signs else "published"
        typer.echo(f"{key.tenant}  {key.kid}  {state:9}  created {iso(key.created_at)}{leaked}")


def _with_keys(use: Callable[[Keys], Awaitable[list[T]]]) -> list[T]:
    return _with_database(lambda settings, database: use(build_keys(settings, database)))


def _with_database(use: Callable[[Settings, Database], Awaitable[T]]) -> T:
    """Runs a use case outside of the service, on the same database."""
    settings = load(Settings)

    async def run() -> T:
        database = Database.of(settings)
        try:
            return await use(settings, database)
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
