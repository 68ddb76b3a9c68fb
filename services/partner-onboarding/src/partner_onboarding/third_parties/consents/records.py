"""The consents that name a person: a `register.own_account.Records`."""

from typing import Any

from shared.db import Database
from shared.times import iso

from partner_onboarding.third_parties.consents import store


class ConsentRecords:
    """Consents in which a person is the API user, or which the person decided."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def about(self, tenant: str, user_id: str) -> dict[str, Any]:
        """`consents`, oldest first: every version that names the person."""
        async with self._database.transaction() as connection:
            found = await store.naming(connection, tenant, user_id)
        return {
            "consents": [
                {
                    "client": name,
                    "client_id": consent.client_id,
                    "version": consent.version,
                    "event": consent.event,
                    "scopes": list(consent.scopes),
                    "is_api_user": consent.subject == user_id,
                    "decided": consent.actor.name == user_id,
                    "recorded_at": iso(consent.recorded_at),
                }
                for name, consent in found
            ]
        }
