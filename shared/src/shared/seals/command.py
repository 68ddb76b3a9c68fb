"""`python -m SERVICE verify`, in all services that seal rows: once, or again and again with metrics.

The status is 0 when all is well, 1 when something differs, and 2 when nothing could be verified.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, NoReturn

import sqlalchemy as sa
import typer
from prometheus_client import Gauge, start_http_server
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import DBAPIError

from shared.chores import Chore, Chores
from shared.database_failures import is_passing, sqlstate_of
from shared.database_url import DatabaseUrl
from shared.seals.checking import Checking, Head
from shared.seals.rows import SealedTable
from shared.settings import DatabaseSettings

#: What is looked at, how many so far, and of how many.
Told = Callable[[str, int, int], None]

_NO_SUCH_TABLE: Final = frozenset({"42P01", "3F000"})
_LONGEST_ROUND_SECONDS: Final = 86_400.0
_differing = Gauge(
    "verify_differences", "Differences that the last run of `verify` found. Alarm when it is not 0.", ["service"]
)
_verified_at = Gauge(
    "verify_last_run_timestamp_seconds", "When `verify` last came to its end. Alarm on its age.", ["service"]
)
_lasted = Gauge("verify_last_run_seconds", "How long its last run took.", ["service"])


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found: what it looked at, a sentence for each difference, and the heads of the chains."""

    summary: str
    differences: Sequence[str]
    heads: Sequence[Head]


def silent(_what: str, _done: int, _total: int) -> None:
    """Tells nobody."""


def _heads_of(texts: Sequence[str] | None, chains: Sequence[str]) -> list[Head]:
    """The heads that were given on the command line; a wrong one ends the command with status 2."""
    try:
        return [Head.read(text, chains) for text in texts or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def verify_command(
    cli: typer.Typer,
    service: str,
    chains: Sequence[str],
    work: Callable[[list[Head], int, Told], Awaitable[Report]],
    *,
    about: str,
    all_well: str,
) -> None:
    """Adds the command `verify` to those of a service.

    Args:
        chains: the names of its sealed tables.
        work: verifies, given heads that were noted, how many differences of a kind are named, and whom to tell.
        about: what the command does, for its help.
        all_well: what it says if nothing differs.
    """

    @cli.command(help=about)
    def verify(
        at_most: Annotated[int, typer.Option(min=1, help="So many differences of a kind are named.")] = 100,
        head: Annotated[
            list[str] | None,
            typer.Option(help="A head that was noted outside of the database; may be given several times."),
        ] = None,
        show_heads: Annotated[bool, typer.Option("--show-heads", help="Show the heads of all chains.")] = False,
        watch: Annotated[bool, typer.Option("--watch", help="Go on until SIGTERM, and serve metrics.")] = False,
        every: Annotated[float, typer.Option(min=1, help="With --watch: seconds between two runs.")] = 3600,
        host: Annotated[str, typer.Option(help="With --watch: the address of /metrics.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=1, max=65535, help="With --watch: its port.")] = 9101,
    ) -> None:
        heads = _heads_of(head, chains)

        async def check(told: Told) -> Report:
            return await work(heads, at_most, told)

        if watch:
            _verify_again_and_again(check, service=service, every_seconds=every, host=host, port=port)
        else:
            _verify_once(check, all_well=all_well, show_heads=show_heads)


def verify_audit(
    cli: typer.Typer,
    service: str,
    seals: sa.Table,
    tables: Callable[[], tuple[DatabaseSettings, Sequence[SealedTable]]],
    chains: Sequence[str],
) -> None:
    """Adds the command `verify` to a service that seals its audit and nothing else.

    Args:
        tables: gives settings and sealed tables when the command runs.
        chains: the names of those tables.
    """

    async def work(heads: list[Head], at_most: int, told: Told) -> Report:
        settings, sealed = tables()
        engine = DatabaseUrl(settings.database_url.get_secret_value()).engine()
        try:
            checked = await Checking(engine, seals, sealed, heads=heads, at_most=at_most, told=told).check()
        finally:
            await engine.dispose()
        return Report(f"looked at {checked.rows:,} rows in {checked.seals:,} seals", checked.differences, checked.heads)

    verify_command(
        cli,
        service,
        chains,
        work,
        about="Check the chain of the audit's seals, while the service runs; status 1 names what differs.",
        all_well="every seal agrees with its rows",
    )


def _verify_once(check: Callable[[Told], Awaitable[Report]], *, all_well: str, show_heads: bool) -> None:
    """Runs `check`, shows how far it is if there is a terminal, and what it found.

    Args:
        all_well: a sentence for that case.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            report = asyncio.run(_run(check, _shown_by(progress)))
    except Exception as error:
        _say_why_not(error)
    console.print(report.summary)
    for difference in report.differences:
        typer.echo(difference)
    if show_heads:
        for head in report.heads:
            typer.echo(f"head {head}")
    if report.differences:
        raise typer.Exit(1)
    typer.echo(all_well)


def _verify_again_and_again(
    check: Callable[[Told], Awaitable[Report]], *, service: str, every_seconds: float, host: str, port: int
) -> None:
    """Runs `check` as a chore until SIGTERM or SIGINT. What differs goes to standard output, the rest into metrics."""

    async def run() -> None:
        began = time.monotonic()
        report = await check(silent)
        _lasted.labels(service).set(time.monotonic() - began)
        _differing.labels(service).set(len(report.differences))
        _verified_at.labels(service).set(time.time())
        for difference in report.differences:
            typer.echo(difference)

    async def watch() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        chore = Chore("verify", run, every_seconds=every_seconds, timeout_seconds=_LONGEST_ROUND_SECONDS)
        async with Chores().running(chore):
            await stopping.wait()

    server, _ = start_http_server(port, host)
    try:
        asyncio.run(watch())
    finally:
        server.shutdown()


async def _run(check: Callable[[Told], Awaitable[Report]], told: Told) -> Report:
    return await check(told)


def _shown_by(progress: Progress) -> Told:
    tasks: dict[str, TaskID] = {}

    def told(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what)
        progress.update(tasks[what], completed=done, total=total)

    return told


def _say_why_not(error: Exception) -> NoReturn:
    if sqlstate_of(error) in _NO_SUCH_TABLE:
        typer.echo("Nothing was verified: the database has no such tables yet. Run `migrate` first.", err=True)
    elif isinstance(error, DBAPIError | OSError) and is_passing(error):
        typer.echo(f"Nothing was verified: the database cannot be reached ({type(error).__name__}).", err=True)
    else:
        raise error
    raise typer.Exit(2)
