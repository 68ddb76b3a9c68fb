"""The defence against guessing: only bad signatures cost anything, and whoever makes many is slowed down.

Two budgets of a minute each:
- by address of the visitor, where it is known (the hosted page, or passed along by a back end): when it is used
  up, nothing is deciphered for this address any more;
- by credential: when it is used up, bad signatures are answered with 429; good tokens still pass, since otherwise
  anybody could close a campaign for everybody by calling its site with made-up links.

In memory and by process: N replicas allow N budgets, which changes nothing in the arithmetic (2⁻⁶⁴ a guess).
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter
from shared.errors import TooManyRequests

WINDOW_SECONDS: Final = 60
#: Addresses and credentials that are remembered; the one charged longest ago is forgotten first.
_REMEMBERED: Final = 100_000
_log = structlog.get_logger("guesses")
_bad = Counter("tokens_bad_signatures", "Tokens that no key of the tenant has made. Alarm on a rise.")
_exhausted = Counter("tokens_guess_budgets_exhausted", "Budgets used up within a minute. Alarm on any.", ["budget"])


class TooManyBadSignatures(TooManyRequests):
    code = "too_many_bad_signatures"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            "Too many tokens with a bad signature came from here.", retry_after_seconds=retry_after_seconds
        )


class _Budget:
    """So many charges a key and window; bounded in memory."""

    def __init__(self, name: str, limit: int, clock: Callable[[], float]) -> None:
        self._name = name
        self._limit = limit
        self._clock = clock
        self._charged: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def charge(self, key: str) -> None:
        """Raises TooManyBadSignatures when it is used up."""
        window = int(self._clock() // WINDOW_SECONDS)
        since, count = self._charged.get(key, (window, 0))
        count = count + 1 if since == window else 1
        self._charged[key] = (window, count)
        self._charged.move_to_end(key)
        while len(self._charged) > _REMEMBERED:
            self._charged.popitem(last=False)
        if count == self._limit + 1:
            _exhausted.labels(self._name).inc()
            _log.warning("guess budget used up", budget=self._name, whose=key)
        if count > self._limit:
            raise TooManyBadSignatures(self._seconds_left())

    def check(self, key: str) -> None:
        """Raises TooManyBadSignatures when it is used up."""
        since, count = self._charged.get(key, (0, 0))
        if count > self._limit and since == int(self._clock() // WINDOW_SECONDS):
            raise TooManyBadSignatures(self._seconds_left())

    def _seconds_left(self) -> int:
        return int(WINDOW_SECONDS - self._clock() % WINDOW_SECONDS) + 1


class Guesses:
    """One a process.

    Args:
        per_credential, per_address: bad signatures within a minute.
        clock: seconds; handed in by tests.
    """

    def __init__(self, *, per_credential: int, per_address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._credentials = _Budget("credential", per_credential, clock)
        self._addresses = _Budget("address", per_address, clock)

    def check(self, visitor: str | None) -> None:
        """Before a token is deciphered. Raises TooManyBadSignatures when the visitor's budget is used up."""
        if visitor is not None:
            self._addresses.check(visitor)

    def charge(self, *, credential: str | None, visitor: str | None, caller: str | None) -> None:
        """After a bad signature.

        Args:
            credential: tenant and client.
            visitor: the address of whoever opened the link.
            caller: the address that called us, which is charged where the visitor's is not known.

        Raises:
            TooManyBadSignatures: one of the budgets is used up.
        """
        _bad.inc()
        address = visitor or (f"caller {caller}" if caller is not None else None)
        if address is not None:
            self._addresses.charge(address)
        if credential is not None:
            self._credentials.charge(credential)
