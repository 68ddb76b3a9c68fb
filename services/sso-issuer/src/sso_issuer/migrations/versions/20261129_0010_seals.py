"""Seals of the audits."""

from alembic import op
from shared.seals.migration import create_seals_table, drop_seals_table

revision = "20261129_0010"
down_revision = "20261129_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_seals_table(op, "sso_issuer")


def downgrade() -> None:
    drop_seals_table(op, "sso_issuer")
