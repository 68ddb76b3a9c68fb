"""Mails to people without an account, and mails that name something; people with roles are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0013"
down_revision = "20261129_0012"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"


def upgrade() -> None:
    op.add_column("mails", sa.Column("facts", sa.LargeBinary(), comment="Sealed: what the text names."), schema=SCHEMA)
    op.alter_column("mails", "user_id", nullable=True, comment="None for somebody without an account.", schema=SCHEMA)
    # Without a look at all the rows under the lock: it is true of all of them.
    op.execute(
        f"ALTER TABLE {SCHEMA}.mails ADD CONSTRAINT mails_recipient_check"
        " CHECK (user_id IS NOT NULL OR recipient IS NOT NULL) NOT VALID"
    )
    op.execute(f"ALTER TABLE {SCHEMA}.mails VALIDATE CONSTRAINT mails_recipient_check")
    op.create_index(
        "users_with_roles",
        "users",
        ["tenant", "user_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("roles <> '{}'"),
    )


def downgrade() -> None:
    op.drop_index("users_with_roles", "users", schema=SCHEMA)
    op.drop_constraint(op.f("mails_recipient_check"), "mails", schema=SCHEMA)
    op.execute(f"DELETE FROM {SCHEMA}.mails WHERE user_id IS NULL")  # noqa: S608 — the schema's name is a constant
    op.alter_column("mails", "user_id", nullable=False, comment=None, schema=SCHEMA)
    op.drop_column("mails", "facts", schema=SCHEMA)
