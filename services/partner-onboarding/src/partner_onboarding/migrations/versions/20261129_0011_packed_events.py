"""Events stay in the row that they were recorded in; see `shared.events.migration`."""

from alembic import op
from shared.events.migration import pack_events, unpack_events

revision = "20261129_0011"
down_revision = "20261129_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pack_events(op, "partner_onboarding")


def downgrade() -> None:
    unpack_events(op, "partner_onboarding")
