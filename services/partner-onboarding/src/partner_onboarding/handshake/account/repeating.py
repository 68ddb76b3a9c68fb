"""Erasures once more, after a database was restored that still has people who left since the backup.

The journal lies in the same database, so what is repeated comes from outside: from `list-erasures` of before, or from
the log.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ValidationError
from shared.db import Database
from shared.errors import Malformed
from shared.times import Timestamp

from partner_onboarding.handshake.account import erasures_store as store
from partner_onboarding.handshake.account.erasures_store import Erased
from partner_onboarding.register.audit.domain import SHELL
from partner_onboarding.register.users.domain import UserNotFound
from partner_onboarding.register.users.erasing import AccountIsNeeded, Erasing

_PAGE: Final = 500


class _Line(BaseModel):
    tenant: str
    user_id: str
    erased_at: Timestamp


@dataclass(slots=True)
class Repeated:
    """How many people were erased again, how many were gone already, and who could not be erased."""

    erased: int = 0
    gone_already: int = 0
    needed: list[Erased] = field(default_factory=list)


def read_lines(lines: Iterable[str]) -> Iterator[Erased]:
    """The erasures of NDJSON lines with `tenant`, `user_id` and `erased_at`; other members are ignored.

    Raises:
        Malformed: with the number of the line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            read = _Line.model_validate_json(line)
        except ValidationError:
            raise Malformed(f"Line {number} is no JSON object with tenant, user_id and erased_at.") from None
        yield Erased(read.tenant, read.user_id, read.erased_at)


class Repeating:
    """Reads the journal, and repeats one."""

    def __init__(self, database: Database, erasing: Erasing) -> None:
        self._database = database
        self._erasing = erasing

    async def journal(self, since: datetime) -> AsyncIterator[Erased]:
        """The erasures since then, oldest first."""
        after = None
        while True:
            async with self._database.transaction() as connection:
                page = await store.read_since(connection, since, after, _PAGE)
            for erased in page:
                yield erased
            if len(page) < _PAGE:
                return
            after = (page[-1].erased_at, page[-1].tenant, page[-1].user_id)

    async def repeat(self, journal: Iterable[Erased]) -> Repeated:
        """Erases again who is back, and has the ledger close the accounts of all others once more.

        An account that was made after the erasure is somebody else's and stays. A repeat changes nothing.
        """
        repeated = Repeated()
        for erased in journal:
            try:
                await self._erasing.erase(erased.tenant, erased.user_id, by=SHELL, unless_newer_than=erased.erased_at)
            except UserNotFound:
                repeated.gone_already += 1
                async with self._database.transaction() as connection:
                    await store.close_again(connection, *erased)
            except AccountIsNeeded:
                repeated.needed.append(erased)
            else:
                repeated.erased += 1
        return repeated
