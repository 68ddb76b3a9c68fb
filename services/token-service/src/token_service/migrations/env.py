from shared.migrating import run_migrations
from token_service.tables import metadata

run_migrations(metadata)
