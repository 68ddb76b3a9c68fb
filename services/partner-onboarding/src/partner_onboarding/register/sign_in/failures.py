"""Wrong passwords in the audit. They are written behind: else the time of an answer told who has an account."""

from collections import deque
from typing import Final, NamedTuple

from prometheus_client import Counter
from shared.db import Database
from shared.origins import current_origin
from shared.request_frame import current_request

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import ANONYMOUS
from partner_onboarding.register.users.domain import SealedUser

_KEPT_AT_MOST: Final = 10_000
_refused = Counter("sign_ins_refused", "Sign-ins that were refused, also for addresses of no account.", ["reason"])


class _Failure(NamedTuple):
    tenant: str
    user_id: str
    origin: str | None
    request_id: str | None


class FailedSignIns:
    """Remembers wrong passwords until they are written down."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Failure] = deque(maxlen=_KEPT_AT_MOST)

    def count(self, reason: str) -> None:
        """Counts a refusal, under no name: the one that was claimed proves nothing."""
        _refused.labels(reason).inc()

    def note(self, user: SealedUser) -> None:
        """Somebody has tried a wrong password for this account."""
        request = current_request.get()
        request_id = None if request is None else request.request_id
        self._waiting.append(_Failure(user.tenant, user.user_id, current_origin.get(), request_id))

    async def write_down(self) -> int:
        """Writes what waits; returns its number."""
        failures = list(self._waiting)
        if not failures:
            return 0
        async with self._database.transaction() as connection:
            for failure in failures:
                await audit_store.add(
                    connection,
                    failure.tenant,
                    ANONYMOUS,
                    "sign_in_failed",
                    failure.user_id,
                    origin=failure.origin,
                    request_id=failure.request_id,
                )
        for _ in failures:
            self._waiting.popleft()
        return len(failures)
