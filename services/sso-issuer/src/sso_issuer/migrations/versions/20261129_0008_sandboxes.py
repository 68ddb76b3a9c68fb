"""Sandboxes and the movements of their clocks."""

from alembic import op
from shared.sandboxes.tables import create_sandbox_tables, drop_sandbox_tables

revision = "20261129_0008"
down_revision = "20261129_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_sandbox_tables(op, "sso_issuer")


def downgrade() -> None:
    drop_sandbox_tables(op, "sso_issuer")
