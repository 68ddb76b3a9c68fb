"""What waits for an endpoint is found by its endpoint; see `shared.events.migration`."""

from alembic import op
from shared.events.migration import index_deliveries, unindex_deliveries

revision = "20261129_0011"
down_revision = "20261129_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    index_deliveries(op, "sso_issuer")


def downgrade() -> None:
    unindex_deliveries(op, "sso_issuer")
