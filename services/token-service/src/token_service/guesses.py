"""The defence against guessing: budgets of bad signatures.

Each bad signature is charged to two budgets of a minute, that of the address it came from and that of the credential.
When one is used up, bad signatures are answered with 429 until the minute is over. A good token always passes, since
it is deciphered first: else anybody could shut others out, by made-up links to a campaign's site, or from behind the
same network address.

The chance of a guess is 2⁻⁶⁴; the budgets hold back the work, and show an attack.
"""

import asyncio
from typing import Final

import structlog
from prometheus_client import Counter
from shared.bounded import Bounded
from shared.errors import Policy, TooManyRequests
from shared.rate_limits import Counts, RateLimit

_WINDOW_SECONDS: Final = 60
_log = structlog.get_logger("guesses")
_bad = Counter("tokens_bad_signatures", "Tokens that no key of the tenant has made. Alarm on a rise.")
_exhausted = Counter(
    "tokens_guess_budgets_exhausted", "Bad signatures beyond the budget of a minute. Alarm on any.", ["budget"]
)


class TooManyBadSignatures(TooManyRequests):
    code = "too_many_bad_signatures"

    def __init__(self, retry_after_seconds: int, limit: Policy | None) -> None:
        super().__init__(
            "Too many tokens with a bad signature came from here.",
            retry_after_seconds=retry_after_seconds,
            limit=limit,
        )


class Guesses:
    """One a process.

    Args:
        per_credential, per_address: bad signatures within a minute.
    """

    def __init__(self, counts: Counts, *, per_credential: int, per_address: int) -> None:
        self._credentials = RateLimit(counts, per_credential, _WINDOW_SECONDS, "bad-signatures-credential")
        self._addresses = RateLimit(counts, per_address, _WINDOW_SECONDS, "bad-signatures-address")
        # An attack is one line in the log and not a million.
        self._logged: Bounded[tuple[str, str], bool] = Bounded(10_000, seconds=_WINDOW_SECONDS)

    async def charge(self, *, credential: str | None, visitor: str | None, caller: str | None) -> None:
        """Call after a bad signature.

        Args:
            credential: tenant and client.
            visitor: the network address of the visitor.
            caller: the network address of the caller, which is charged if the visitor's is unknown.

        Raises:
            TooManyBadSignatures: one of the budgets is spent.
        """
        _bad.inc()
        address = visitor or (f"caller {caller}" if caller is not None else None)
        refusals = await asyncio.gather(
            self._charge("address", self._addresses, address), self._charge("credential", self._credentials, credential)
        )
        longest = max(
            (refusal for refusal in refusals if refusal is not None),
            key=lambda refusal: refusal.retry_after_seconds or 1,
            default=None,
        )
        if longest is not None:
            raise TooManyBadSignatures(longest.retry_after_seconds or 1, longest.limit)

    async def _charge(self, budget: str, limit: RateLimit, name: str | None) -> TooManyRequests | None:
        """The refusal of this budget; None while it lasts."""
        if name is None:
            return None
        try:
            await limit.count(name)
        except TooManyRequests as refusal:
            _exhausted.labels(budget).inc()
            if (budget, name) not in self._logged:
                self._logged.keep((budget, name), True)
                _log.warning("guess budget used up", budget=budget, whose=name)
            return refusal
        return None
