"""Constraints are called as in all services: table, columns or rule, kind."""

from alembic import op

revision = "20261129_0006"
down_revision = "20261129_0005"
branch_labels = None
depends_on = None

#: table → former name → present name
_RENAMED = {
    "issuances": {
        "issuances_vendors_fkey": "issuances_tenant_vendor_id_fkey",
    },
    "keys": {
        "keys_key_successions_fkey": "keys_tenant_algorithm_fkey",
    },
    "redemptions": {
        "redemptions_issuances_fkey": "redemptions_tenant_jti_fkey",
    },
    "vendor_secrets": {
        "vendor_secrets_vendors_fkey": "vendor_secrets_tenant_vendor_id_fkey",
    },
}


def upgrade() -> None:
    for table, names in _RENAMED.items():
        for former, present in names.items():
            op.execute(f"ALTER TABLE sso_issuer.{table} RENAME CONSTRAINT {former} TO {present}")


def downgrade() -> None:
    for table, names in _RENAMED.items():
        for former, present in names.items():
            op.execute(f"ALTER TABLE sso_issuer.{table} RENAME CONSTRAINT {present} TO {former}")
