"""`python -m token_service serve | migrate | mint | stats | rotate-keys | list-keys | events …`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from shared.commands import service_commands
from shared.distributing import distribute_command
from shared.errors import Refusal
from shared.events.command_line import event_commands
from shared.migrating import migrate as migrate_schema
from shared.resealing import reseal_command
from shared.serving import serve as serve_app
from shared.settings import load, load_database_settings
from shared.times import iso

from token_service.app import PACKAGE, build_events, create_app
from token_service.campaigns.domain import Bucket, Statistics
from token_service.command_line import figures, minting
from token_service.command_line.workplace import Parts, parts_of
from token_service.imports.rows import RowProblem
from token_service.keys.store import KeyRow
from token_service.settings import Settings
from token_service.tables import metadata

cli = service_commands("Unique, verifiable campaign tokens.")
cli.add_typer(event_commands(Settings, build_events), name="events")
cli.command("reseal")(reseal_command(Settings, metadata))
cli.command("distribute")(distribute_command(Settings, PACKAGE, metadata))

TenantOption = Annotated[str | None, typer.Option(help="By default the only one there is.")]
T = TypeVar("T")


@cli.command()
def serve() -> None:
    """Serve until SIGTERM."""
    settings = load(Settings)
    serve_app(lambda: create_app(settings), settings, service="token-service")


@cli.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    migrate_schema(load_database_settings(Settings), PACKAGE)


@cli.command()
def mint(
    targets: Annotated[Path, typer.Argument(help="CSV with a header, or NDJSON (.ndjson, .jsonl).", dir_okay=False)],
    tenant: TenantOption = None,
    base_url: Annotated[str | None, typer.Option(help="For rows that have none of their own.")] = None,
    campaign_id: Annotated[str | None, typer.Option(help="For rows that have none of their own.")] = None,
    duration: Annotated[str | None, typer.Option(help="Seconds or ISO 8601; for rows without one.")] = None,
    max_uses: Annotated[int | None, typer.Option(help="For rows that have none of their own.")] = None,
    new_tenant: Annotated[bool, typer.Option(help="The tenant has no tokens yet: make its first key.")] = False,
    charset: Annotated[str | None, typer.Option(help="Of CSV that is not UTF-8, such as windows-1252.")] = None,
) -> None:
    """Issue a token for each row of a target list: `mint targets.csv > links.csv`.

    Exits with status 1 if rows were refused; the last column of each says why.
    """
    given = {
        "base_url": base_url,
        "campaign_id": campaign_id,
        "duration": duration,
        "max_uses": None if max_uses is None else str(max_uses),
    }

    async def work(parts: Parts) -> minting.Tallied:
        with targets.open("rb") as source:
            return await minting.mint(
                parts,
                await parts.tenant(tenant, is_new=new_tenant),
                source,
                sys.stdout.buffer,
                length=targets.stat().st_size,
                as_ndjson=minting.is_ndjson(targets),
                charset=charset,
                defaults={name: value for name, value in given.items() if value is not None},
            )

    tallied = _run(work)
    if tallied.refused:
        raise typer.Exit(1)


@cli.command()
def stats(
    campaign_id: str,
    tenant: TenantOption = None,
    bucket: Annotated[Bucket, typer.Option(help="How counts are gathered.")] = Bucket.DAY,
) -> None:
    """Show the statistics of a campaign."""

    async def work(parts: Parts) -> Statistics:
        return await figures.statistics(parts, await parts.tenant(tenant), campaign_id, bucket)

    Console().print(figures.table_of(_run(work)))


@cli.command()
def rotate_keys(
    tenant: TenantOption = None,
    all_tenants: Annotated[bool, typer.Option("--all", help="Every tenant's, as after restoring a backup.")] = False,
    immediately: Annotated[bool, typer.Option(help="Sign with it at once; only while no service is running.")] = False,
    leaked: Annotated[
        bool, typer.Option(help="Sign with it in five seconds, as soon as every process knows it: the former leaked.")
    ] = False,
) -> None:
    """Make a new key for a tenant; live tokens stay valid."""
    if leaked and immediately:
        raise typer.BadParameter("choose --leaked while services run, or --immediately while none does")

    async def work(parts: Parts) -> list[KeyRow]:
        tenants = {key.tenant for key in await parts.keys(None)} if all_tenants else {await parts.tenant(tenant)}
        ahead = timedelta(0) if immediately else parts.ring.notice if leaked else None
        return [await parts.ring.rotate(each, ahead=ahead) for each in sorted(tenants)]

    for key in _run(work):
        typer.echo(_line(key))
    if leaked:
        typer.echo(
            "Anybody who has the former key can make up links that are live. Revoke what it made where that matters: "
            "DELETE /v1/campaigns/{id}/tokens.",
            err=True,
        )


@cli.command()
def list_keys(tenant: Annotated[str | None, typer.Option(help="By default all tenants.")] = None) -> None:
    """Show keys and their states, without secrets."""

    async def work(parts: Parts) -> list[KeyRow]:
        return await parts.keys(tenant)

    for key in _run(work):
        typer.echo(_line(key))


def _run(work: Callable[[Parts], Awaitable[T]]) -> T:
    async def within_parts() -> T:
        async with parts_of(load(Settings)) as parts:
            return await work(parts)

    try:
        return asyncio.run(within_parts())
    except RowProblem as problem:
        typer.echo(problem.as_text(), err=True)
        raise typer.Exit(2) from None
    except Refusal as refusal:
        typer.echo(refusal.message, err=True)
        raise typer.Exit(2) from None


def _line(key: KeyRow) -> str:
    retired = "" if key.retired_at is None else f"  retired {iso(key.retired_at)}"
    numbers = key.next_sequence - 1
    return f"{key.tenant}  {key.number}  signs from {iso(key.signs_from)}  {numbers} numbers drawn{retired}"


if __name__ == "__main__":
    cli()
