"""An index for the question which keys were revoked lately.

Revision ID: 20261129_0004
Revises: 20261129_0003
"""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0004"
down_revision = "20261129_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Requests need this lock, so every run of this migration waits for it only briefly.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "keys_by_retirement",
        "keys",
        ["retired_at"],
        unique=False,
        schema="sso_issuer",
        postgresql_where=sa.text("state = 'retired'"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("keys_by_retirement", table_name="keys", schema="sso_issuer")
