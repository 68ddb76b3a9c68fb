"""The command line behind the Makefile: `python -m local_platform run|up|down|demo|secrets|backups|sbom|…`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from local_platform.backups import Backups, serve_figures
from local_platform.bills import NoUv, write_bills
from local_platform.browser import NoBrowser, find_or_install_browser
from local_platform.commands import CommandFailed
from local_platform.compose import ComposeFailed, NoDocker
from local_platform.console import Terminal
from local_platform.containers import Containers, GatewayDoesNotAnswer, state_of_containers
from local_platform.embedded_postgres import PostgresStartError
from local_platform.event_journey import EventJourney
from local_platform.gateway import CADDYFILE, transport_to, with_present_routes
from local_platform.handshake_journey import HandshakeJourney
from local_platform.installation import Installation
from local_platform.integration_journey import IntegrationJourney
from local_platform.journey import Journey, JourneyFailed
from local_platform.parents import end_with_make
from local_platform.ports import Ports
from local_platform.processes import ProgramFailed
from local_platform.running import CannotRun, Platform
from local_platform.seeding import SeedingFailed
from local_platform.services import SERVICES
from local_platform.state_directory import StateDirectory, StateDirectoryInUse

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)

PortBase = Annotated[int, typer.Option(envvar="PORT_BASE", help="The gateway's port; the others follow from it.")]
StateDir = Annotated[Path, typer.Option(envvar="STATE_DIR", help="Data, secrets, logs and demo.json.")]


@app.command()
def run(port_base: PortBase = 8000, state_dir: StateDir = Path(".run")) -> None:
    """Starts everything, shows the journey of points once, and stays until Ctrl-C."""
    end_with_make()
    terminal = Terminal()
    try:
        state = StateDirectory(state_dir)
        ports = Ports(port_base)
        state.prepare()
        with state.held():
            asyncio.run(_run(ports, state, terminal))
    except (
        CannotRun,
        CommandFailed,
        JourneyFailed,
        PostgresStartError,
        ProgramFailed,
        SeedingFailed,
        StateDirectoryInUse,
        ValueError,
    ) as error:
        terminal.complain(f"make run: {error}")
        raise typer.Exit(1) from None


@app.command()
def up(
    port_base: PortBase = 8000,
    state_dir: StateDir = Path(".run"),
    profiles: Annotated[str, typer.Option(envvar="PROFILES", help="Such as: monitoring")] = "",
) -> None:
    """Builds and starts the platform in containers, and shows the journey of points by https."""
    terminal = Terminal()
    state = state_of_containers(state_dir)
    try:
        ports = Ports(port_base, https_only=True)
        state.prepare()
        with state.held():
            asyncio.run(_up(Containers(ports, state, terminal), profiles.replace(",", " ").split()))
    except (
        CommandFailed,
        ComposeFailed,
        GatewayDoesNotAnswer,
        JourneyFailed,
        NoDocker,
        SeedingFailed,
        StateDirectoryInUse,
        ValueError,
    ) as error:
        terminal.complain(f"make up: {error}")
        raise typer.Exit(1) from None


@app.command()
def down(port_base: PortBase = 8000, state_dir: StateDir = Path(".run")) -> None:
    """Stops the platform in containers; the data stay."""
    terminal = Terminal()
    try:
        Containers(Ports(port_base, https_only=True), state_of_containers(state_dir), terminal).down()
    except (ComposeFailed, NoDocker, ValueError) as error:
        terminal.complain(f"make down: {error}")
        raise typer.Exit(1) from None


@app.command()
def demo(state_dir: StateDir = Path(".run")) -> None:
    """Shows the journeys of points, an event, a person and an integration; fails if anything comes out differently."""
    terminal = Terminal()
    description = StateDirectory(state_dir).demo_json
    if not description.exists():
        in_containers = state_of_containers(state_dir).demo_json
        if not in_containers.exists():
            terminal.complain(f"make demo: there is no {description}; start the platform first: make run, or make up")
            raise typer.Exit(1)
        description = in_containers
    try:
        told = json.loads(description.read_text())
        asyncio.run(Journey(told, terminal, transport_to(told)).make())
        terminal.title("And the shop hears what happened without asking: an event, delivered.")
        asyncio.run(EventJourney(told, terminal, transport_to(told)).make())
        terminal.title("And a new person comes, sent by a partner: the registration handshake.")
        asyncio.run(HandshakeJourney(told, terminal, transport_to(told)).make())
        terminal.title("And another company's program asks for data: request, approval, consent, withdrawal.")
        asyncio.run(IntegrationJourney(told, terminal, transport_to(told)).make())
    except JourneyFailed as error:
        terminal.complain(f"make demo: {error}")
        raise typer.Exit(1) from None
    terminal.title("All of it came out as it must.")


@app.command()
def routes() -> None:
    """Writes the gateway's routes anew, from the list of services."""
    CADDYFILE.write_text(with_present_routes(CADDYFILE.read_text()))


@app.command()
def secrets(
    directory: Annotated[Path, typer.Argument(help="A directory of its own; a directory in it is one Secret.")],
    database: Annotated[str, typer.Option(help="Host and port of PostgreSQL, for the URLs that are made.")] = (
        "database-rw:5432"
    ),
    parameters: Annotated[str, typer.Option(help="What those URLs say behind the name.")] = "?sslmode=require",
    check: Annotated[bool, typer.Option("--check", help="Make nothing.")] = False,
    next_key: Annotated[
        str, typer.Option(help="A service: make its next key, and let all know its public half.", metavar="SERVICE")
    ] = "",
    forget_former_keys: Annotated[
        bool, typer.Option("--forget-former-keys", help="Take away the public halves of keys that nobody has any more.")
    ] = False,
) -> None:
    """Makes every secret of an installation for production that is missing, and checks all; status 1 names faults."""
    installation = Installation(directory, database, parameters)
    if next_key:
        by_name = {service.name: service for service in SERVICES}
        if next_key not in by_name:
            raise typer.BadParameter(f"--next-key takes one of {', '.join(by_name)}")
        for path in installation.make_next_key(by_name[next_key]):
            typer.echo(f"written  {path}")
    elif forget_former_keys:
        for name in installation.forget_former_keys():
            typer.echo(f"forgot   the former key of {name}")
    elif not check:
        for path in installation.make():
            typer.echo(f"made     {path}")
    for held in installation.held():
        typer.echo(f"{held.directory:36}  for {held.reader}: {held.meaning}")
    if faults := installation.faults():
        for fault in faults:
            typer.echo(f"wrong: {fault}", err=True)
        raise typer.Exit(1)
    typer.echo("All of them are there and fit together.")


@app.command()
def backups(
    directory: Annotated[Path, typer.Argument(help="Where the dumps lie: `<service>-….dump`.", file_okay=False)],
    at_most_hours: Annotated[float, typer.Option(min=0, help="An older newest one is a fault.")] = 26,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until SIGTERM, and serve metrics.")] = False,
    host: Annotated[str, typer.Option(help="With --watch: the address of /metrics.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="With --watch: its port.")] = 9102,
) -> None:
    """Looks whether every service has a fresh backup; status 1 names those that have none."""
    present = Backups(directory, [service.name for service in SERVICES])
    if watch:
        serve_figures(present, host, port)
    elif faults := present.faults(at_most_hours):
        for fault in faults:
            typer.echo(fault, err=True)
        raise typer.Exit(1)
    else:
        typer.echo("Every service has a fresh backup.")


@app.command()
def sbom(directory: Annotated[Path, typer.Argument(help="Where the bills go.", file_okay=False)]) -> None:
    """Writes a CycloneDX bill of materials for each image, `<image>.cdx.json`."""
    try:
        for path in write_bills(directory):
            typer.echo(path)
    except NoUv as error:
        typer.echo(f"make sbom: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def browser() -> None:
    """Prints the path of a Chromium, which is installed if there is none."""
    try:
        typer.echo(find_or_install_browser())
    except NoBrowser as error:
        typer.echo(f"make test: {error}", err=True)
        raise typer.Exit(1) from None


async def _up(containers: Containers, profiles: list[str]) -> None:
    await containers.up(profiles)


async def _run(ports: Ports, state: StateDirectory, terminal: Terminal) -> None:
    await Platform(ports, state, terminal).run()


if __name__ == "__main__":
    app()
