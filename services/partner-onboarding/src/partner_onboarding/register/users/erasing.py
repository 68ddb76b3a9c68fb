"""Erases a person: by the own account page, and for somebody who asks the operators for it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.db import Database
from shared.errors import Conflict
from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit import store as audit_store
from partner_onboarding.register.audit.domain import Actor, Change
from partner_onboarding.register.users import store
from partner_onboarding.register.users.domain import UserNotFound


class AccountIsNeeded(Conflict):
    """The account has a role or a duty in the tenant, which somebody else has to take over first."""

    code = "account_is_needed"


class Belongings(Protocol):
    """Records about a person outside of the register."""

    async def end(self, connection: AsyncConnection, tenant: str, user_id: str, *, by: Actor) -> None:
        """Ends everything that must not outlive the account, in the transaction that deletes it.

        Raises:
            AccountIsNeeded: something cannot be without this account.
        """


class Erasing:
    """Deletes accounts, removes all links, and signs people out everywhere.

    Billed months stay, under an id that no longer leads to a person.
    """

    def __init__(self, database: Database, belongings: Sequence[Belongings]) -> None:
        self._database = database
        self._belongings = belongings

    async def erase(self, tenant: str, user_id: str, *, by: Actor, unless_newer_than: datetime | None = None) -> None:
        """Deletes one account.

        Args:
            unless_newer_than: an account that was made later belongs to somebody else, and stays.

        Raises:
            UserNotFound: also if it was deleted before.
            AccountIsNeeded: it has a role, or an integration acts for this person.
        """
        async with self._database.transaction() as connection:
            user = await store.find_user(connection, tenant, user_id, lock=True)
            if user is None or (unless_newer_than is not None and user.created_at > unless_newer_than):
                raise UserNotFound("There is no such user.")
            if user.roles:
                raise AccountIsNeeded("This account has duties; somebody else has to take them over first.")
            for belongings in self._belongings:
                await belongings.end(connection, tenant, user_id, by=by)
            await store.delete_user(connection, tenant, user_id)
            change = Change({"owns_email": user.owns_email, "is_disabled": user.disabled_at is not None}, None)
            await audit_store.add(connection, tenant, by, "user_deleted", user_id, change=change)
