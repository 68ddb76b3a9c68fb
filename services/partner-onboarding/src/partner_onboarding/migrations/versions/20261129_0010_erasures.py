"""The journal of erasures."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0010"
down_revision = "20261129_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    when = sa.DateTime(timezone=True)
    op.create_table(
        "erasures",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("erased_at", when, nullable=False, server_default=sa.func.now()),
        sa.Column("account_closed_at", when, comment="When the ledger had closed the account."),
        sa.Column("next_attempt_at", when, server_default=sa.func.now(), comment="None when the account is closed."),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("tenant", "user_id", "erased_at", name=op.f("erasures_pkey")),
        sa.CheckConstraint(
            "(account_closed_at IS NULL) = (next_attempt_at IS NOT NULL)", name=op.f("erasures_next_attempt_at_check")
        ),
        schema="partner_onboarding",
    )
    op.create_index(
        "erasures_due",
        "erasures",
        ["next_attempt_at"],
        schema="partner_onboarding",
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("erasures", schema="partner_onboarding")
