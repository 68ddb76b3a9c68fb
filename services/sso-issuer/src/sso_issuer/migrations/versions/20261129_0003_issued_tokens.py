"""Issuances know the very token and whom it was for; a token may say that it was issued five seconds ago.

Nobody else can use the table while its rows are checked: a second or so for a million issuances.

Revision ID: 20261129_0003
Revises: 20261121_0002
"""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0003"
down_revision = "20261121_0002"
branch_labels = None
depends_on = None

SCHEMA = "sso_issuer"
_LIFETIME = "expires_at > issued_at - interval '5 seconds' AND expires_at <= issued_at + interval '300 seconds'"
_FORMER_LIFETIME = "expires_at > issued_at AND expires_at <= issued_at + interval '300 seconds'"


def upgrade() -> None:
    # Requests need this lock, so every run of this migration waits for it only briefly.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "issuances",
        sa.Column("audience", sa.Text(), nullable=True, comment="none in rows of before"),
        schema=SCHEMA,
    )
    op.add_column(
        "issuances",
        sa.Column("token_digest", sa.LargeBinary(), nullable=True, comment="SHA-256; none in rows of before"),
        schema=SCHEMA,
    )
    _check("issuances_token_digest_check", "octet_length(token_digest) = 32")
    _replace_lifetime(_LIFETIME)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _replace_lifetime(_FORMER_LIFETIME)
    op.drop_column("issuances", "token_digest", schema=SCHEMA)
    op.drop_column("issuances", "audience", schema=SCHEMA)


def _replace_lifetime(condition: str) -> None:
    op.drop_constraint(op.f("issuances_lifetime_check"), "issuances", schema=SCHEMA)
    _check("issuances_lifetime_check", condition)


def _check(name: str, condition: str) -> None:
    op.create_check_constraint(op.f(name), "issuances", condition, schema=SCHEMA)
