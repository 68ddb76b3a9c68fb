"""Events: outbox, list, endpoints and deliveries."""

from alembic import op
from shared.events.migration import create_event_tables, drop_event_tables

revision = "20261129_0008"
down_revision = "20261129_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_event_tables(op, "partner_onboarding")


def downgrade() -> None:
    drop_event_tables(op, "partner_onboarding")
