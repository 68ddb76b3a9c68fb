"""Acts of administrators that the audit does not have yet."""

from alembic import op
from shared.acts import create_acts_table, drop_acts_table

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_acts_table(op, "points_ledger")


def downgrade() -> None:
    drop_acts_table(op, "points_ledger")
