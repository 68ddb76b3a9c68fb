"""Retention finds old redemptions by their age alone, in all tenants at once."""

from alembic import op

revision = "20261129_0012"
down_revision = "20261129_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "redemptions_redeemed_at_idx", "redemptions", ["redeemed_at"], schema="sso_issuer", postgresql_using="brin"
    )


def downgrade() -> None:
    op.drop_index("redemptions_redeemed_at_idx", table_name="redemptions", schema="sso_issuer")
