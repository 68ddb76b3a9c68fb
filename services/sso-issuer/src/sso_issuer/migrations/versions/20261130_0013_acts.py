"""Acts of administrators that the audit does not have yet."""

from alembic import op
from shared.acts import create_acts_table, drop_acts_table

revision = "20261130_0013"
down_revision = "20261129_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_acts_table(op, "sso_issuer")


def downgrade() -> None:
    drop_acts_table(op, "sso_issuer")
