"""Second factors, their recovery codes, and sessions that wait for one."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0006"
down_revision = "20261129_0005"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"
_WHEN = sa.DateTime(timezone=True)
_ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'user', 'client', 'applicant', 'shell')"
_FORMER_ACTORS = "actor_kind IN ('operator', 'tenant_admin', 'client', 'applicant', 'shell')"


def upgrade() -> None:
    for table in ("audit_entries", "consents"):
        _replace_actors(table, _ACTORS)
    op.add_column(
        "sessions",
        sa.Column(
            "awaits", sa.Text(), comment="What the sign-in still needs: a code, or the set-up of a second factor."
        ),
        schema=SCHEMA,
    )
    op.create_check_constraint(op.f("ck_sessions_awaits"), "sessions", "awaits IN ('code', 'enrolment')", schema=SCHEMA)
    op.create_table(
        "second_factors",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "secret", sa.LargeBinary(), nullable=False, comment="Sealed: the secret that the person's app has too."
        ),
        sa.Column(
            "last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="A code is good once."
        ),
        sa.Column("created_at", _WHEN, server_default=sa.text("now()"), nullable=False),
        sa.Column("confirmed_at", _WHEN, comment="It counts from here on."),
        sa.PrimaryKeyConstraint("tenant", "user_id", name=op.f("pk_second_factors")),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            [f"{SCHEMA}.users.tenant", f"{SCHEMA}.users.user_id"],
            name=op.f("fk_second_factors_users"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("last_step >= 0", name=op.f("ck_second_factors_last_step")),
        schema=SCHEMA,
    )
    op.create_table(
        "recovery_codes",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False, comment="HMAC-SHA256, bound to the account."),
        sa.Column("used_at", _WHEN),
        sa.PrimaryKeyConstraint("tenant", "user_id", "code_hash", name=op.f("pk_recovery_codes")),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            [f"{SCHEMA}.second_factors.tenant", f"{SCHEMA}.second_factors.user_id"],
            name=op.f("fk_recovery_codes_second_factors"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("octet_length(code_hash) = 32", name=op.f("ck_recovery_codes_code_hash")),
        schema=SCHEMA,
    )


def _replace_actors(table: str, condition: str) -> None:
    name = op.f(f"ck_{table}_actor_kind")
    op.drop_constraint(name, table, schema=SCHEMA)
    op.create_check_constraint(name, table, condition, schema=SCHEMA)


def downgrade() -> None:
    op.execute(f"DELETE FROM {SCHEMA}.audit_entries WHERE actor_kind = 'user'")  # noqa: S608 — a constant
    for table in ("audit_entries", "consents"):
        _replace_actors(table, _FORMER_ACTORS)
    op.drop_table("recovery_codes", schema=SCHEMA)
    op.drop_table("second_factors", schema=SCHEMA)
    op.execute(f"DELETE FROM {SCHEMA}.sessions WHERE awaits IS NOT NULL")  # noqa: S608 — a constant
    op.drop_constraint(op.f("ck_sessions_awaits"), "sessions", schema=SCHEMA)
    op.drop_column("sessions", "awaits", schema=SCHEMA)
