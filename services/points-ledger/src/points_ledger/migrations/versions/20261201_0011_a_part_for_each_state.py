"""A vendor's transactions are listed by one index, which has those of each state by themselves.

`migrate` builds it beside the migrations, and the next `migrate` drops the four former ones: here is only the way back.
Two of the four, `migrate` of the former version builds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_FORMER = {
    "transactions_by_vendor_idx": (
        ["tenant", "vendor_id", "created_at", "transaction_id"],
        "created_at > '-infinity'",
    ),
    "transactions_by_outcome_idx": (
        ["tenant", "vendor_id", "state", "created_at", "transaction_id"],
        "state IN ('rolled_back', 'expired', 'rejected', 'cancelled')",
    ),
}


def upgrade() -> None:
    """Nothing: see `shared.indexes`."""


def downgrade() -> None:
    for name, (columns, where) in _FORMER.items():
        op.create_index(
            name,
            "transactions",
            columns,
            schema="points_ledger",
            postgresql_where=sa.text(where),
            if_not_exists=True,
        )
    op.drop_index("transactions_by_state_idx", table_name="transactions", schema="points_ledger", if_exists=True)
