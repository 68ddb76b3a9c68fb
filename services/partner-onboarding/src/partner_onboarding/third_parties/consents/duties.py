"""A person's duties towards integrations: a `register.users.erasing.Belongings`."""

from sqlalchemy.ext.asyncio import AsyncConnection

from partner_onboarding.register.audit.domain import Actor
from partner_onboarding.register.users.erasing import AccountIsNeeded
from partner_onboarding.third_parties.consents import store


class ApiUserDuties:
    """Keeps an account for which an integration acts: tokens would name nobody, or who gets the id later."""

    async def end(self, connection: AsyncConnection, tenant: str, user_id: str, *, by: Actor) -> None:
        """Raises AccountIsNeeded while a consent that holds designates this person."""
        if await store.acts_for(connection, tenant, user_id):
            raise AccountIsNeeded("An integration acts for this account; another one has to be designated first.")
