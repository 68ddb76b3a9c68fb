"""Events: outbox, list, endpoints and deliveries."""

from alembic import op
from shared.events.migration import create_event_tables, drop_event_tables

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_event_tables(op, "points_ledger")


def downgrade() -> None:
    drop_event_tables(op, "points_ledger")
