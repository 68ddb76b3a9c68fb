"""Limits on guessing: wrong passwords are counted by account and network, and by known device."""

from dataclasses import dataclass
from typing import Final

from shared.errors import TooManyRequests
from shared.rate_limits import Counts, RateLimit

from partner_onboarding.register.sign_in.domain import TooManyAttempts

#: So many times the limit of one network: guesses at one account from everywhere, before only known devices get in.
_NETWORKS: Final = 10


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one account.

    Args:
        account: the account, or the keyed hash of an address that no account has.
        network: where the browser is, if that is known.
        device: the name of the browser, if it is known to this account.
    """

    account: str
    network: str | None
    device: str | None = None


class SignInThrottle:
    """Refuses further attempts after too many wrong passwords within a window.

    Guesses from one network lock out that network; only guesses from many networks lock out all strangers. A known
    device is counted by itself and is locked out by nobody else's guesses.

    Args:
        per_account: wrong passwords for one account from one network, or from one known device, in a window.
        per_address: wrong passwords from one network in a window, for any accounts.
    """

    def __init__(self, counts: Counts, *, per_account: int, per_address: int, window_seconds: int) -> None:
        def limit(times: int, purpose: str) -> RateLimit:
            return RateLimit(counts, times, window_seconds, purpose, sliding=True)

        self._from_network = limit(per_account, "account-network")
        self._from_device = limit(per_account, "account-device")
        self._from_everywhere = limit(per_account * _NETWORKS, "account")
        self._of_network = limit(per_address, "address")

    async def check(self, attempt: Attempt) -> None:
        """Raises TooManyAttempts with the time of the next attempt."""
        try:
            for limit, name in self._limits(attempt):
                await limit.check(*name)
        except TooManyRequests as refusal:
            raise TooManyAttempts(
                "Too many wrong passwords. Please wait before you try again.",
                retry_after_seconds=refusal.retry_after_seconds or 1,
                limit=refusal.limit,
            ) from None

    async def count_wrong(self, attempt: Attempt) -> None:
        """Counts a wrong password for its account; see `count_network`."""
        for limit, name in self._limits(attempt):
            if limit is not self._of_network:
                await limit.note(*name)

    async def count_network(self, network: str | None) -> None:
        """Counts a wrong password for the network that it came from, once, for however many accounts it was tried."""
        if network is not None:
            await self._of_network.note(network)

    async def forgive(self, attempt: Attempt) -> None:
        """Resets the counts of this account after its right password; those of no other account."""
        for limit, name in self._limits(attempt):
            if limit is not self._of_network:
                await limit.forget(*name)

    def _limits(self, attempt: Attempt) -> list[tuple[RateLimit, tuple[str, ...]]]:
        if attempt.device is not None:
            return [(self._from_device, (attempt.account, attempt.device))]
        limits = [
            (self._from_network, (attempt.account, attempt.network or "unknown")),
            (self._from_everywhere, (attempt.account,)),
        ]
        return limits if attempt.network is None else [*limits, (self._of_network, (attempt.network,))]
