"""Limits on guessing: wrong passwords are counted by account and by network."""

from shared.errors import TooManyRequests
from shared.rate_limits import Counts, RateLimit

from partner_onboarding.register.sign_in.domain import TooManyAttempts


class SignInThrottle:
    """Refuses further attempts after too many wrong passwords within a window.

    Args:
        per_account: wrong passwords for one account in a window; a right one resets the count.
        per_address: wrong passwords from one network in a window, for any accounts.
    """

    def __init__(self, counts: Counts, *, per_account: int, per_address: int, window_seconds: int) -> None:
        self._per_account = RateLimit(counts, per_account, window_seconds, "account", sliding=True)
        self._per_address = RateLimit(counts, per_address, window_seconds, "address", sliding=True)

    async def check(self, account: bytes, address: str | None) -> None:
        """Raises TooManyAttempts with the time of the next attempt."""
        try:
            for limit, name in self._names(account, address):
                await limit.check(name)
        except TooManyRequests as refusal:
            raise TooManyAttempts(
                "Too many wrong passwords. Please wait before you try again.",
                retry_after_seconds=refusal.retry_after_seconds or 1,
            ) from None

    async def count_wrong(self, account: bytes, address: str | None) -> None:
        for limit, name in self._names(account, address):
            await limit.note(name)

    async def forgive(self, account: bytes) -> None:
        """Resets the account's count after a right password."""
        await self._per_account.forget(account.hex())

    def _names(self, account: bytes, address: str | None) -> list[tuple[RateLimit, str]]:
        # The name is the keyed hash of the address, so that memory holds no addresses.
        names = [(self._per_account, account.hex())]
        return names if address is None else [*names, (self._per_address, address)]
