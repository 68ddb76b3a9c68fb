"""What a run was like: the table at its end."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from deploy.scale.auditing import Lost
from deploy.scale.load import Tally, pauses

#: Shorter pauses are the machine's.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Chapter:
    """What happened between these times, of `time.monotonic`."""

    what: str
    begun: float
    ended: float


def table(chapters: Sequence[Chapter], tally: Tally, lost: Sequence[Lost]) -> Table:
    """A row for each chapter."""
    shown = Table("what", "s without service", "longest", "acknowledged", "refused", "unanswered", "lost")
    for chapter in chapters:
        without = list(pauses(tally.acknowledged, chapter.begun, chapter.ended, PAUSE_SECONDS))
        shown.add_row(
            chapter.what,
            f"{sum(without):.1f}",
            f"{max(without, default=0.0):.1f}",
            *(
                f"{sum(chapter.begun <= at < chapter.ended for at in times):,}"
                for times in (tally.acknowledged, tally.refused, tally.unanswered, [one.at for one in lost])
            ),
        )
    return shown
