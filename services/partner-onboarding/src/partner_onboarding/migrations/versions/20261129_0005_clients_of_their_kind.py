"""What a third party may never have, and one live client for a vendor."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_0005"
down_revision = "20261122_0004"
branch_labels = None
depends_on = None

SCHEMA = "partner_onboarding"
_CLIENTS = f"{SCHEMA}.clients"
_NOT_FOR_THIRD_PARTIES = "ARRAY['clients:admin', 'sso:issue', 'sso:admin', 'partner:handshake']"


def upgrade() -> None:
    _refuse_shared_vendor_ids()
    op.execute(
        f"UPDATE {_CLIENTS} SET scopes = ARRAY(SELECT scope FROM unnest(scopes) WITH ORDINALITY AS given (scope, place)"  # noqa: S608 — constants
        f" WHERE NOT scope = ANY ({_NOT_FOR_THIRD_PARTIES}) ORDER BY place)"
        f" WHERE kind = 'third_party' AND scopes && {_NOT_FOR_THIRD_PARTIES}"
    )
    op.execute(
        f"ALTER TABLE {_CLIENTS} ADD CONSTRAINT ck_clients_scopes_of_third_party"
        f" CHECK (kind <> 'third_party' OR NOT scopes && {_NOT_FOR_THIRD_PARTIES})"
    )
    op.create_index(
        "uq_clients_live_vendor",
        "clients",
        ["tenant", sa.text("COALESCE(vendor_id, client_id)")],
        unique=True,
        postgresql_where=sa.text("disabled_at IS NULL"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_index("uq_clients_live_vendor", "clients", schema=SCHEMA)
    op.drop_constraint(op.f("ck_clients_scopes_of_third_party"), "clients", schema=SCHEMA)


def _refuse_shared_vendor_ids() -> None:
    """Says which clients share a vendor's records: only an operator knows which one of them is to stay."""
    shared = op.get_bind().execute(
        sa.text(
            f"SELECT tenant, COALESCE(vendor_id, client_id) AS vendor, array_agg(client_id ORDER BY client_id) AS ids"  # noqa: S608
            f" FROM {_CLIENTS} WHERE disabled_at IS NULL GROUP BY 1, 2 HAVING count(*) > 1"
        )
    )
    found = [f"{row.vendor} of {row.tenant}: {', '.join(row.ids)}" for row in shared]
    if found:
        raise RuntimeError(
            "A vendor id belongs to one live client. Disable all but one (disable-client), then migrate again: "
            + "; ".join(found)
        )
