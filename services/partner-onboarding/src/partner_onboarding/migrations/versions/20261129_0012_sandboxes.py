"""Sandboxes and the movements of their clocks."""

from alembic import op
from shared.sandboxes.tables import create_sandbox_tables, drop_sandbox_tables

revision = "20261129_0012"
down_revision = "20261129_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_sandbox_tables(op, "partner_onboarding")


def downgrade() -> None:
    drop_sandbox_tables(op, "partner_onboarding")
