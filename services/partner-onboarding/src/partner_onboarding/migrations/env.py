"""Alembic's entry: this service's schema, by the way all services share."""

from partner_onboarding.tables import metadata
from shared.migrating import run_migrations

run_migrations(metadata)
