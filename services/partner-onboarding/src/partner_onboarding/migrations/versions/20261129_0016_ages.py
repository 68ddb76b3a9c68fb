"""Retention finds old mails and audit entries by their age alone, in all tenants at once."""

from alembic import op

revision = "20261129_0016"
down_revision = "20261129_0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_mails_created_at", "mails", ["created_at"], schema="partner_onboarding", postgresql_using="brin"
    )
    op.create_index(
        "ix_audit_entries_recorded_at",
        "audit_entries",
        ["recorded_at"],
        schema="partner_onboarding",
        postgresql_using="brin",
    )


def downgrade() -> None:
    op.drop_index("ix_audit_entries_recorded_at", table_name="audit_entries", schema="partner_onboarding")
    op.drop_index("ix_mails_created_at", table_name="mails", schema="partner_onboarding")
