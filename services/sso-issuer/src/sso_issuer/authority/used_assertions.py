"""Each assertion of a client is good once. What waits together is written together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, cast

import sqlalchemy as sa
from shared.db import Database
from shared.group_commit import GroupCommit
from shared.readings import Reading

from sso_issuer.authority import store
from sso_issuer.authority.assertions import Assertion
from sso_issuer.authority.store import AssertionPlace

_CLOCK: Final = Reading(sa.select(sa.func.clock_timestamp().label("now")))


class _Use(NamedTuple):
    place: AssertionPlace
    expires_at: datetime


class UsedAssertions:
    """Remembers assertions for as long as they would be accepted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._line = GroupCommit[_Use, bool](
            self._use_all,
            name="assertions",
            tenant_of=lambda use: use.place[0],
            is_of_one_tenant=database.is_distributed,
        )

    async def now(self) -> datetime:
        """The database's clock, which judges assertions for all replicas.

        Raises:
            Unavailable: the database cannot be asked.
        """
        (row,) = await self._database.read(_CLOCK)
        return cast(datetime, row.now)

    async def use(self, tenant: str, client_id: str, assertion: Assertion) -> bool:
        """Uses an assertion up; that is durable when this returns. Of many calls, one returns True.

        Raises:
            Unavailable: the database cannot be asked.
        """
        return await self._line.submit(_Use((tenant, client_id, assertion.jti_digest), assertion.expires_at))

    async def close(self) -> None:
        """Writes what waits in line, and takes no more."""
        await self._line.close()

    async def _use_all(self, uses: Sequence[_Use]) -> list[bool]:
        firsts = {use.place: use.expires_at for use in reversed(uses)}
        async with self._database.raw_write() as connection:
            unused = await store.use_assertions(connection, firsts)
        answers = []
        for use in uses:
            # The first of a batch that brings an assertion has it to itself.
            answers.append(use.place in unused)
            unused.discard(use.place)
        return answers
