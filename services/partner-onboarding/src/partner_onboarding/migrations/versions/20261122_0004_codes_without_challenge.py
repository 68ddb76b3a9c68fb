"""Codes whose link had no PKCE challenge."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_0004"
down_revision = "20261121_0003"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"


def upgrade() -> None:
    op.alter_column(
        "authorization_codes",
        "code_challenge",
        existing_type=sa.Text(),
        nullable=True,
        comment="PKCE, S256; none where the link had none",
        existing_comment="PKCE, S256",
        schema=SCHEMA,
    )


def downgrade() -> None:
    # Codes live for a minute: those that the former rule does not know are not waited for.
    op.execute(f"DELETE FROM {SCHEMA}.authorization_codes WHERE code_challenge IS NULL")  # noqa: S608 — a constant
    op.alter_column(
        "authorization_codes",
        "code_challenge",
        existing_type=sa.Text(),
        nullable=False,
        comment="PKCE, S256",
        existing_comment="PKCE, S256; none where the link had none",
        schema=SCHEMA,
    )
