"""How long records about people are kept. Accounts go when the person deletes them."""

import sqlalchemy as sa
from shared.chores import Chore
from shared.db import Database
from shared.retention import forgetting

from partner_onboarding.register.tables import audit_entries, mails
from partner_onboarding.settings import Settings
from partner_onboarding.third_parties.tables import consents, integration_requests


def retention(database: Database, settings: Settings) -> tuple[Chore, ...]:
    """The chores that delete what is older than the settings say."""
    requests = integration_requests.c
    return (
        forgetting(database, audit_entries, audit_entries.c.recorded_at, settings.audit_kept),
        forgetting(database, mails, mails.c.created_at, settings.mails_kept, mails.c.next_attempt_at.is_(None)),
        forgetting(
            database,
            integration_requests,
            requests.decided_at,
            settings.declined_requests_kept,
            requests.state == "declined",
        ),
        *_of_consents(database, settings),
    )


def _of_consents(database: Database, settings: Settings) -> tuple[Chore, Chore]:
    """A withdrawal goes after the versions that it ended: without it, the last of them would hold again."""
    kept, other = settings.withdrawn_consents_kept, consents.alias()
    same_client = sa.and_(other.c.tenant == consents.c.tenant, other.c.client_id == consents.c.client_id)
    ended = sa.exists().where(
        same_client,
        other.c.version > consents.c.version,
        other.c.event == "withdrawn",
        other.c.recorded_at < sa.func.now() - kept,
    )
    has_earlier = sa.exists().where(same_client, other.c.version < consents.c.version)
    recorded_at, event = consents.c.recorded_at, consents.c.event
    return (
        forgetting(database, consents, recorded_at, kept, ended, name="forget ended consents"),
        forgetting(
            database, consents, recorded_at, kept, event == "withdrawn", ~has_earlier, name="forget withdrawals"
        ),
    )
