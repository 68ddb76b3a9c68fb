"""A token's MAC may say the version of its text."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_constraint(op.f("tokens_mac_check"), "tokens", schema="token_service", type_="check")
    op.create_check_constraint(
        op.f("tokens_mac_check"), "tokens", "octet_length(mac) IN (16, 17)", schema="token_service"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("tokens_mac_check"), "tokens", schema="token_service", type_="check")
    op.create_check_constraint(op.f("tokens_mac_check"), "tokens", "octet_length(mac) = 16", schema="token_service")
