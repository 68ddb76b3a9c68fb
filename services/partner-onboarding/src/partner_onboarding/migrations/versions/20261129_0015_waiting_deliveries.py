"""What waits for an endpoint is found by its endpoint; see `shared.events.migration`."""

from alembic import op
from shared.events.migration import index_deliveries, unindex_deliveries

revision = "20261129_0015"
down_revision = "20261129_0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    index_deliveries(op, "partner_onboarding")


def downgrade() -> None:
    unindex_deliveries(op, "partner_onboarding")
