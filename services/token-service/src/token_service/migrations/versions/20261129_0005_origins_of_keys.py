"""A key knows the database that it was made in, so that a restored one gives no number out again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column(
        "keys",
        sa.Column("origin", sa.Text(), nullable=True, comment="the database in which its numbers are drawn"),
        schema="token_service",
    )
    op.execute(
        "UPDATE token_service.keys SET origin = (SELECT s.system_identifier || '/' || c.timeline_id || '/' || d.oid"
        " FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d WHERE d.datname = current_database())"
    )


def downgrade() -> None:
    op.drop_column("keys", "origin", schema="token_service")
