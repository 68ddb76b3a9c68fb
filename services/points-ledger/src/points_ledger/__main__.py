"""`python -m points_ledger serve | migrate | verify | check-receipt | reconcile | events …`."""

import json
from typing import Annotated

import typer
from shared.commands import service_commands
from shared.distributing import distribute_command
from shared.events.command_line import event_commands
from shared.jwt import UnusableKey
from shared.migrating import migrate as migrate_schema
from shared.resealing import reseal_command
from shared.seals.checking import Head
from shared.seals.command import Report, Told, verify_command
from shared.serving import serve as serve_app
from shared.settings import load, load_database_settings

from points_ledger import verifying
from points_ledger.app import build_events, create_app
from points_ledger.receipts.checking import NotGenuine, check
from points_ledger.reconciliations.command import reconcile
from points_ledger.seals.sealed import SEALED_ENTRIES
from points_ledger.settings import Settings
from points_ledger.tables import metadata

cli = service_commands("The system of record of points.")
cli.add_typer(event_commands(Settings, build_events), name="events")
cli.command()(reconcile)
cli.command("reseal")(reseal_command(Settings, metadata))
cli.command("distribute")(distribute_command(Settings, "points_ledger", metadata))


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(lambda: create_app(settings), settings, service="points-ledger")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    migrate_schema(load_database_settings(Settings), "points_ledger")


async def _verify(heads: list[Head], at_most: int, told: Told) -> Report:
    url = load_database_settings(Settings).database_url.get_secret_value()
    return (await verifying.verify(url, at_most=at_most, heads=heads, told=told)).report


verify_command(
    cli,
    "points-ledger",
    [SEALED_ENTRIES.chain],
    _verify,
    about="Recompute everything from the entries, and check the chain of their seals, while the service runs;"
    " status 1 names what differs.",
    all_well="every account agrees with its entries and holds, and every seal with its entries",
)


@cli.command()
def check_receipt(
    receipt: Annotated[typer.FileText, typer.Argument(help="The file with the receipt; - for standard input.")],
    keys: Annotated[typer.FileText, typer.Option(help="A saved copy of the tenant authority's receipts/jwks.json.")],
    issuer: Annotated[str | None, typer.Option(help="The tenant authority that must have signed it.")] = None,
    vendor: Annotated[str | None, typer.Option(help="The vendor whose receipt it must be.")] = None,
) -> None:
    """Check a receipt without any network; status 0 if it is valid, 1 if not, 2 if there is no key set."""
    try:
        claims = check(receipt.read().strip(), json.load(keys), issuer=issuer, vendor_id=vendor)
    except NotGenuine as why:
        typer.echo(f"invalid: {why}.")
        raise typer.Exit(1) from None
    except (UnusableKey, ValueError, AttributeError) as error:
        typer.echo(f"This is no key set: {error}.", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"valid: {claims.sentence()}.")


if __name__ == "__main__":
    cli()
