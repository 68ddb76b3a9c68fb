"""Seals of entries, and the index that finds entries by their time.

The index is built while requests wait: a second or so for a million entries.
"""

import sqlalchemy as sa
from alembic import op
from shared.seals.migration import create_seals_table, drop_seals_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "entries_by_time_idx",
        "entries",
        ["tenant", "created_at"],
        schema="points_ledger",
        postgresql_where=sa.text("created_at > '-infinity'"),
    )
    create_seals_table(op, "points_ledger")


def downgrade() -> None:
    drop_seals_table(op, "points_ledger")
    op.drop_index("entries_by_time_idx", table_name="entries", schema="points_ledger")
