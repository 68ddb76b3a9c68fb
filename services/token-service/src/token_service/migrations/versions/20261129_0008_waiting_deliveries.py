"""What waits for an endpoint is found by its endpoint; see `shared.events.migration`."""

from alembic import op
from shared.events.migration import index_deliveries, unindex_deliveries

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    index_deliveries(op, "token_service")


def downgrade() -> None:
    unindex_deliveries(op, "token_service")
