from points_ledger.tables import metadata
from shared.migrating import run_migrations

run_migrations(metadata)
