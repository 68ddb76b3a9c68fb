"""Seals of the audit, the index that finds its entries by their time, and the time itself.

An entry gets its time when it is written, and no longer when its transaction began: up to a time, all entries must be
there. The index is built while requests wait: a second or so for a million entries.
"""

import sqlalchemy as sa
from alembic import op
from shared.seals.migration import create_seals_table, drop_seals_table

revision = "20261129_0014"
down_revision = "20261129_0013"
branch_labels = None
depends_on = None

_SCHEMA = "partner_onboarding"


def upgrade() -> None:
    op.alter_column("audit_entries", "recorded_at", server_default=sa.func.clock_timestamp(), schema=_SCHEMA)
    op.create_index(
        "audit_entries_by_time_idx",
        "audit_entries",
        ["tenant", "recorded_at"],
        schema=_SCHEMA,
        postgresql_where=sa.text("recorded_at > '-infinity'"),
    )
    create_seals_table(op, _SCHEMA)


def downgrade() -> None:
    drop_seals_table(op, _SCHEMA)
    op.drop_index("audit_entries_by_time_idx", table_name="audit_entries", schema=_SCHEMA)
    op.alter_column("audit_entries", "recorded_at", server_default=sa.func.now(), schema=_SCHEMA)
