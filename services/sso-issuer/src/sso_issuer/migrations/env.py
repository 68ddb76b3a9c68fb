"""Alembic's entry: which tables, and how they are reached, is said elsewhere."""

from shared.migrating import run_migrations
from sso_issuer.tables import metadata

run_migrations(metadata)
