"""Tokens may be changed and spared; the tokens of a campaign, and the reference of a token, are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column(
        "tokens",
        sa.Column(
            "first_expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="of a token that was changed: the end it was made with",
        ),
        schema="token_service",
    )
    op.add_column(
        "tokens",
        sa.Column("spared", sa.BigInteger(), nullable=True, comment="verifications that were to use nothing up"),
        schema="token_service",
    )
    op.create_index(
        "tokens_placement_key_number_sequence_idx",
        "tokens",
        ["placement", "key_number", "sequence"],
        schema="token_service",
    )
    op.create_index(
        "import_references_tenant_key_number_sequence_idx",
        "import_references",
        ["tenant", "key_number", "sequence"],
        schema="token_service",
    )


def downgrade() -> None:
    op.drop_index(
        "import_references_tenant_key_number_sequence_idx", table_name="import_references", schema="token_service"
    )
    op.drop_index("tokens_placement_key_number_sequence_idx", table_name="tokens", schema="token_service")
    op.drop_column("tokens", "spared", schema="token_service")
    op.drop_column("tokens", "first_expires_at", schema="token_service")
