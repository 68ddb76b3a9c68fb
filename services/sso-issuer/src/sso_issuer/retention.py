"""How long the audits of this service are kept."""

from shared.chores import Chore
from shared.db import Database
from shared.retention import forgetting

from sso_issuer.settings import Settings
from sso_issuer.tables import authority_events, issuances, redemptions


def retention(database: Database, settings: Settings) -> tuple[Chore, ...]:
    """The chores that delete what is older than the settings say."""
    return (
        forgetting(database, redemptions, redemptions.c.redeemed_at, settings.issuances_kept),
        forgetting(database, issuances, issuances.c.issued_at, settings.issuances_kept),
        forgetting(database, authority_events, authority_events.c.happened_at, settings.authority_events_kept),
    )
