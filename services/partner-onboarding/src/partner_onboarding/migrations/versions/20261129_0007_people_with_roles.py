"""Disabled users, notices to a former address, and a fuller audit."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0007"
down_revision = "20261129_0006"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"
_FORMER_ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'user', 'client', 'applicant', 'shell')"
_ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'user', 'client', 'applicant', 'anonymous', 'shell')"


def upgrade() -> None:
    op.add_column("users", sa.Column("disabled_at", sa.DateTime(timezone=True)), schema=SCHEMA)
    op.add_column(
        "mails",
        sa.Column(
            "recipient", sa.LargeBinary(), comment="Sealed: the address, where it is not the user's present one."
        ),
        schema=SCHEMA,
    )
    op.add_column(
        "audit_entries",
        sa.Column("origin", sa.Text(), comment="The network that the request came from."),
        schema=SCHEMA,
    )
    op.add_column("audit_entries", sa.Column("request_id", sa.Text()), schema=SCHEMA)
    _allow_actors(_ACTORS)


def downgrade() -> None:
    op.execute(f"DELETE FROM {SCHEMA}.audit_entries WHERE actor_kind = 'anonymous'")  # noqa: S608
    _allow_actors(_FORMER_ACTORS)
    op.drop_column("audit_entries", "request_id", schema=SCHEMA)
    op.drop_column("audit_entries", "origin", schema=SCHEMA)
    op.execute(f"DELETE FROM {SCHEMA}.mails WHERE recipient IS NOT NULL")  # noqa: S608
    op.drop_column("mails", "recipient", schema=SCHEMA)
    op.drop_column("users", "disabled_at", schema=SCHEMA)


def _allow_actors(actors: str) -> None:
    # Without a look at all the rows under the lock: the new rule and the former one are both true of them.
    op.drop_constraint(op.f("ck_audit_entries_actor_kind"), "audit_entries", schema=SCHEMA)
    op.execute(
        f"ALTER TABLE {SCHEMA}.audit_entries ADD CONSTRAINT ck_audit_entries_actor_kind CHECK ({actors}) NOT VALID"
    )
    op.execute(f"ALTER TABLE {SCHEMA}.audit_entries VALIDATE CONSTRAINT ck_audit_entries_actor_kind")
