"""Events stay in the row that they were recorded in; see `shared.events.migration`."""

from alembic import op
from shared.events.migration import pack_events, unpack_events

revision = "20261129_0007"
down_revision = "20261129_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pack_events(op, "sso_issuer")


def downgrade() -> None:
    unpack_events(op, "sso_issuer")
