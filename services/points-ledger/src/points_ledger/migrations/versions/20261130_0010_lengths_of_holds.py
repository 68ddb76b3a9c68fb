"""Holds that have ended are found by how long they lasted.

`migrate` builds the index for it beside the migrations, and the next `migrate` drops the former one: here is only the
way back.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing: see `shared.indexes`."""


def downgrade() -> None:
    op.create_index(
        "transactions_ended_by_user_idx",
        "transactions",
        ["tenant", "user_id", "ended_at"],
        schema="points_ledger",
        postgresql_where=sa.text("state IN ('confirmed', 'rolled_back', 'expired')"),
        if_not_exists=True,
    )
    op.drop_index("transactions_ended_by_length_idx", table_name="transactions", schema="points_ledger", if_exists=True)
