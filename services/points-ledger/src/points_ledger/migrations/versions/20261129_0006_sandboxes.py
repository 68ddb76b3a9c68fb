"""Sandboxes and the movements of their clocks."""

from alembic import op
from shared.sandboxes.tables import create_sandbox_tables, drop_sandbox_tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_sandbox_tables(op, "points_ledger")


def downgrade() -> None:
    drop_sandbox_tables(op, "points_ledger")
