"""Keys of receipts: public halves for ever, the private half of the one that signs, and those that leaked.

Revision ID: 20261129_0009
Revises: 20261129_0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261129_0009"
down_revision = "20261129_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Requests need this lock, so every run of this migration waits for it only briefly.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "receipt_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False, comment="RFC 7638 thumbprint"),
        sa.Column("public_jwk", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "NOT public_jwk ?| ARRAY['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']", name=op.f("receipt_keys_public_check")
        ),
        sa.PrimaryKeyConstraint("tenant", "kid", name=op.f("receipt_keys_pkey")),
        schema="sso_issuer",
    )
    op.create_table(
        "receipt_signers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False, comment="sealed PKCS #8"),
        sa.ForeignKeyConstraint(
            ["tenant", "kid"],
            ["sso_issuer.receipt_keys.tenant", "sso_issuer.receipt_keys.kid"],
            name=op.f("receipt_signers_tenant_kid_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", name=op.f("receipt_signers_pkey")),
        schema="sso_issuer",
    )
    op.create_table(
        "leaked_receipt_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("leaked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "kid"],
            ["sso_issuer.receipt_keys.tenant", "sso_issuer.receipt_keys.kid"],
            name=op.f("leaked_receipt_keys_tenant_kid_fkey"),
        ),
        sa.PrimaryKeyConstraint("tenant", "kid", name=op.f("leaked_receipt_keys_pkey")),
        schema="sso_issuer",
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("leaked_receipt_keys", "receipt_signers", "receipt_keys"):
        op.drop_table(table, schema="sso_issuer")
