"""Sandboxes and the movements of their clocks."""

from alembic import op
from shared.sandboxes.tables import create_sandbox_tables, drop_sandbox_tables

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_sandbox_tables(op, "token_service")


def downgrade() -> None:
    drop_sandbox_tables(op, "token_service")
