"""Alembic's entry point. `tables` has the tables, `shared.migrating` the connection."""

from shared.migrating import run_migrations
from sso_issuer.tables import metadata

run_migrations(metadata)
