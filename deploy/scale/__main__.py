"""`python -m deploy.scale`: the platform on three nodes of PostgreSQL under Patroni, while they fail under load."""

import asyncio
import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from local_platform.commands import CommandFailed
from local_platform.console import Terminal
from local_platform.parents import end_with_make
from local_platform.processes import ProgramFailed
from local_platform.seeding import SeedingFailed
from rich.console import Console

from deploy.scale.cluster import Cluster, NotWell
from deploy.scale.faults import FAULTS, Fault, Say
from deploy.scale.load import WrongAnswer
from deploy.scale.nodes import PATRONI, Refused
from deploy.scale.playing import STOP_SIGNALS, Outcome, play, running
from deploy.scale.report import table

KEPT = Path("test-artefacts/failover")
NAMES = ", ".join(fault.name for fault in FAULTS)
#: What they say is enough.
EXPECTED = (CommandFailed, LookupError, NotWell, ProgramFailed, Refused, SeedingFailed, WrongAnswer)

cli = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Only these faults: {NAMES}.")] = None,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Play none; you do, until Ctrl-C.")] = False,
    keep: Annotated[Path, typer.Option(help="Where the logs of a failing run are kept.")] = KEPT,
) -> None:
    """Play the faults, and ask for everything that was acknowledged; status 1 names what is lost or wrong."""
    faults = _faults(names or [fault.name for fault in FAULTS])
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    end_with_make()
    with tempfile.TemporaryDirectory(prefix="points-failover-") as name:
        directory = Path(name)
        try:
            outcome = asyncio.run(_run(directory, faults, console, by_hand=by_hand))
        except asyncio.CancelledError:
            console.print("Interrupted; everything has stopped.")
            sys.exit(130)
        except Exception as error:
            _keep_logs(directory, keep, console)
            expected, others = ExceptionGroup("", [error]).split(EXPECTED)
            if others is not None:
                raise
            for cause in _leaves(expected):
                console.print(f"make failover: {cause}", style="bold red")
            sys.exit(1)
        console.print(table(outcome.chapters, outcome.tally, outcome.lost))
        if outcome.faults:
            _keep_logs(directory, keep, console)
            for fault in outcome.faults[:20]:
                console.print(fault, style="bold red")
            sys.exit(1)
    acknowledged = len(outcome.tally.acknowledged)
    console.print(f"Of {acknowledged:,} acknowledged writes none is lost. Balances and books agree.")


def _faults(names: Sequence[str]) -> list[Fault]:
    by_name = {fault.name: fault for fault in FAULTS}
    unknown = set(names) - set(by_name)
    if unknown:
        raise typer.BadParameter(f"no such fault: {', '.join(sorted(unknown))}; there are {NAMES}")
    return [by_name[name] for name in names]


async def _run(directory: Path, faults: Sequence[Fault], console: Console, *, by_hand: bool) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    hands_off = asyncio.Event()

    def stop() -> None:
        if by_hand and not hands_off.is_set():
            hands_off.set()
        elif not task.cancelling():
            task.cancel()

    async def wait_for_hands(cluster: Cluster, say: Say) -> None:
        say(f"Such as: {PATRONI.with_name('patronictl')} -c {cluster.nodes[0].configuration} list")
        say("Ctrl-C when you have done what you wanted; then comes the last look.")
        await hands_off.wait()
        say("Hands off; the nodes that were ended come back.")
        await cluster.bring_back()

    if by_hand:
        faults = [Fault("by hand", "you do what you want", wait_for_hands)]

    for wanted in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(wanted, stop)
    terminal = Terminal(console)
    seconds = itertools.count()
    with console.status("") as status:

        def progress(rate: int, refused: int, unanswered: int) -> None:
            line = f"{rate} writes in the last second; {refused:,} refused, {unanswered:,} unanswered so far"
            status.update(line)
            if not console.is_terminal and next(seconds) % 10 == 0:
                terminal.say(f"          {line}")

        async with running(directory, terminal) as world:
            return await play(world, faults, terminal, progress)


def _leaves(error: Exception | None) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif error is not None:
        yield error


def _keep_logs(directory: Path, kept: Path, console: Console) -> None:
    if (directory / "logs").exists():
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(directory / "logs", kept)
        console.print(f"the logs are kept in {kept}")


if __name__ == "__main__":
    cli()
