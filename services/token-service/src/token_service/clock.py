"""The database's time, known without asking.

One clock decides whether a token is good: the database's. A row is judged by the moment that comes with it. A process
may refuse an expired token by itself, and then goes by the moment that the database told it last, and by its own count
of the seconds since. That can only lag behind the database: the moment was read before it was heard. So a process
never calls a token expired that the database would call good, whatever the process's own date says.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """One a process.

    Args:
        seconds: a clock that is never set; handed in by tests.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._heard: tuple[datetime, float] | None = None

    def hear(self, moment: datetime) -> None:
        """The database has just said what time it is. Also when it was set back, its word counts."""
        self._heard = (moment, self._seconds())

    def now(self) -> datetime | None:
        """What time it is at least in the database; None before it has said so once."""
        if self._heard is None:
            return None
        moment, at = self._heard
        return moment + timedelta(seconds=self._seconds() - at)

    def about_now(self) -> datetime:
        """The same for counting, where a wrong minute does no harm: the process's own time before the first word."""
        return self.now() or datetime.now(UTC)
